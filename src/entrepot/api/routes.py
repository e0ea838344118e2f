"""The route table: every endpoint with the action it needs, what it answers and how it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from entrepot.api import (
    access,
    audit,
    collection,
    emails,
    grants,
    integrity,
    invitations,
    issuers,
    job_schedules,
    jobs,
    mail_invitations,
    members,
    namespaces,
    organisations,
    password_resets,
    plan_book,
    plans,
    policy,
    registrations,
    repositories,
    roles,
    secrets,
    service_accounts,
    sessions,
    sign_on_providers,
    signing_keys,
    tags,
    team_groups,
    teams,
    totp,
    trash,
    users,
    whoami,
)
from entrepot.domain.access import Action


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row. `needs` is judged before the handler runs; a verb may judge more.

    `or_needs` opens the door as well, where only the verb can tell which of the two it is.
    `failures` are its own statuses, beside those that every endpoint has.
    """

    method: str
    path: str
    needs: Action
    handler: Callable[..., Any]
    status: int = 200
    failures: tuple[int, ...] = ()
    or_needs: Action | None = None


NAMESPACE: Final = "/namespaces/{namespace}"
REPOSITORY: Final = "/repositories/{repository}"
TEAM_GROUPS: Final = "/organisations/{organisation}/teams/{team}/groups"
TAG: Final = f"{REPOSITORY}/tags/{{tag}}"
ORGANISATION: Final = "/organisations/{organisation}"
TEAM: Final = f"{ORGANISATION}/teams/{{team}}"
INVITED: Final = f"{ORGANISATION}/invitations/{{user}}"
READ, RUN = Action.ORGANISATION_READ, Action.ORGANISATION_ADMIN
USER: Final = "/users/{user}"
TOKENS: Final = "/users/{user}/tokens"
SERVICE: Final = "/service-accounts/{account}"
ISSUER: Final = "/issuers/{issuer}"
SIGN_ON: Final = "/sign-on-providers/{provider}"

ENDPOINTS: Final = [
    Endpoint("GET", "/whoami", Action.PING, whoami.get),
    Endpoint("GET", "/users", Action.ADMIN, users.list_page, 200, (403,)),
    Endpoint("POST", "/users", Action.ADMIN, users.create, 201, (403, 409)),
    Endpoint("GET", "/users/{user}", Action.PING, users.get, 200, (403, 404)),
    Endpoint("PATCH", "/users/{user}", Action.ADMIN, users.change, 200, (403, 404, 409)),
    Endpoint("DELETE", "/users/{user}", Action.ADMIN, users.remove, 204, (403, 404, 409)),
    Endpoint("DELETE", "/users/{user}/lock", Action.ADMIN, users.unlock, 204, (403, 404)),
    Endpoint("PUT", "/users/{user}/password", Action.PING, users.change_password, 204, (403, 404, 409)),
    Endpoint("GET", f"{USER}/totp", Action.PING, totp.get, 200, (403, 404)),
    Endpoint("POST", f"{USER}/totp", Action.PING, totp.begin, 200, (403, 404, 409)),
    Endpoint("POST", f"{USER}/totp/confirm", Action.PING, totp.confirm, 200, (403, 404, 409)),
    Endpoint("POST", f"{USER}/totp/disable", Action.PING, totp.disable, 204, (403, 404, 409)),
    Endpoint("POST", f"{USER}/totp/recovery-codes", Action.PING, totp.renew, 200, (403, 404, 409)),
    Endpoint("GET", f"{USER}/email", Action.PING, emails.get, 200, (403, 404)),
    Endpoint("PUT", f"{USER}/email", Action.PING, emails.put, 202, (403, 404, 409)),
    Endpoint("POST", f"{USER}/email/confirm", Action.PING, emails.confirm, 200, (403, 404, 409)),
    Endpoint("DELETE", f"{USER}/email", Action.PING, emails.remove, 204, (403, 404)),
    Endpoint("POST", f"{USER}/reset-code", Action.ADMIN, password_resets.make_code, 200, (403, 404, 409)),
    # Whoever asks these is nobody yet.
    Endpoint("POST", "/password-resets", Action.TOKEN, password_resets.create, 202, (409,)),
    Endpoint("POST", "/password-resets/confirm", Action.TOKEN, password_resets.confirm, 204),
    Endpoint("POST", "/registrations", Action.TOKEN, registrations.create, 202, (403, 409)),
    Endpoint("POST", "/registrations/confirm", Action.TOKEN, registrations.confirm, 201, (403, 409)),
    Endpoint("GET", "/mail-invitations", Action.PING, mail_invitations.list_all, 200, (403, 404)),
    Endpoint("POST", "/mail-invitations", Action.PING, mail_invitations.create, 202, (403, 404, 409)),
    Endpoint("POST", "/mail-acceptances", Action.PING, mail_invitations.accept, 204, (409,)),
    Endpoint("DELETE", "/mail-invitations/{invitation}", Action.PING, mail_invitations.remove, 204, (403, 404)),
    Endpoint("GET", "/namespaces", Action.CATALOG, namespaces.list_page),
    Endpoint("POST", "/namespaces", Action.PING, namespaces.create, 201, (403, 409)),
    Endpoint("GET", NAMESPACE, Action.PULL, namespaces.get, 200, (404,)),
    Endpoint("PATCH", NAMESPACE, Action.NAMESPACE_ADMIN, namespaces.change, 200, (403, 404, 409)),
    Endpoint("GET", f"{NAMESPACE}/members", Action.NAMESPACE_ADMIN, members.list_of_namespace, 200, (403, 404)),
    Endpoint("PUT", f"{NAMESPACE}/members/{{user}}", Action.NAMESPACE_ADMIN, members.put_in_namespace, 200, (403, 404)),
    Endpoint(
        "DELETE",
        f"{NAMESPACE}/members/{{user}}",
        Action.NAMESPACE_ADMIN,
        members.remove_from_namespace,
        204,
        (403, 404),
    ),
    Endpoint("GET", "/repositories", Action.CATALOG, repositories.list_page),
    Endpoint("GET", REPOSITORY, Action.PULL, repositories.get, 200, (404,)),
    Endpoint("PATCH", REPOSITORY, Action.REPOSITORY_ADMIN, repositories.change, 200, (403, 404)),
    Endpoint("GET", f"{REPOSITORY}/members", Action.REPOSITORY_ADMIN, members.list_of_repository, 200, (403, 404)),
    Endpoint(
        "PUT", f"{REPOSITORY}/members/{{user}}", Action.REPOSITORY_ADMIN, members.put_in_repository, 200, (403, 404)
    ),
    Endpoint(
        "DELETE",
        f"{REPOSITORY}/members/{{user}}",
        Action.REPOSITORY_ADMIN,
        members.remove_from_repository,
        204,
        (403, 404),
    ),
    Endpoint("GET", f"{REPOSITORY}/tags", Action.PULL, tags.list_page, 200, (404,)),
    Endpoint("GET", TAG, Action.PULL, tags.get, 200, (404,)),
    Endpoint("PUT", TAG, Action.TAG_MOVE, tags.put, 200, (403, 404, 409, 412), Action.TAG_CREATE),
    Endpoint("DELETE", TAG, Action.TAG_DELETE, tags.remove, 204, (403, 404, 412)),
    Endpoint("GET", f"{TAG}/history", Action.PULL, tags.list_history, 200, (404,)),
    Endpoint("POST", f"{TAG}/rollback", Action.TAG_MOVE, tags.roll_back, 200, (403, 404, 409, 412)),
    Endpoint("GET", f"{REPOSITORY}/deleted-tags", Action.PULL, tags.list_deleted, 200, (404,)),
    Endpoint("GET", f"{REPOSITORY}/trash", Action.DELETE, trash.list_page, 200, (403, 404)),
    Endpoint("POST", f"{REPOSITORY}/restore", Action.DELETE, trash.restore, 200, (403, 404, 409)),
    Endpoint("GET", "/grants", Action.PING, grants.list_page, 200, (403, 409)),
    Endpoint("POST", "/grants", Action.PING, grants.create, 201, (403, 409)),
    Endpoint("GET", "/grants/{grant}", Action.PING, grants.get, 200, (404,)),
    Endpoint("DELETE", "/grants/{grant}", Action.PING, grants.remove, 204, (404,)),
    Endpoint("GET", "/policy", Action.PING, policy.get, 200, (403,)),
    Endpoint("PUT", "/policy", Action.PING, policy.put, 200, (403, 409, 412)),
    Endpoint("POST", "/policy/plan", Action.PING, policy.plan, 200, (403, 409)),
    Endpoint("POST", "/access/check", Action.PING, access.check, 200, (403, 404, 409)),
    Endpoint("GET", "/access/able", Action.PING, access.list_able, 200, (403,)),
    Endpoint("GET", "/denials/{denial}", Action.PING, access.get_refusal, 200, (404,)),
    # Owners of the organisation are judged by the verb.
    Endpoint("GET", TEAM_GROUPS, Action.PING, team_groups.list_page, 200, (403, 404)),
    Endpoint("POST", TEAM_GROUPS, Action.PING, team_groups.add, 201, (403, 404, 409)),
    Endpoint("DELETE", TEAM_GROUPS, Action.PING, team_groups.remove, 204, (403, 404)),
    Endpoint("GET", TOKENS, Action.PING, secrets.list_of_user, 200, (403, 404)),
    Endpoint("POST", TOKENS, Action.PING, secrets.create_of_user, 201, (403, 404, 409)),
    Endpoint("GET", f"{TOKENS}/{{token}}", Action.PING, secrets.get_of_user, 200, (403, 404)),
    Endpoint("DELETE", f"{TOKENS}/{{token}}", Action.PING, secrets.revoke_of_user, 204, (403, 404)),
    Endpoint("POST", "/login-password", Action.PING, secrets.create_login_password, 201, (409,)),
    Endpoint("GET", "/service-accounts", Action.PING, service_accounts.list_page, 200, (403,)),
    Endpoint("POST", "/service-accounts", Action.PING, service_accounts.create, 201, (403, 404, 409)),
    Endpoint("GET", SERVICE, Action.PING, service_accounts.get, 200, (403, 404)),
    Endpoint("PATCH", SERVICE, Action.PING, service_accounts.change, 200, (403, 404)),
    Endpoint("DELETE", SERVICE, Action.PING, service_accounts.remove, 204, (403, 404)),
    Endpoint("GET", f"{SERVICE}/secrets", Action.PING, secrets.list_of_service, 200, (403, 404)),
    Endpoint("POST", f"{SERVICE}/secrets", Action.PING, secrets.create_of_service, 201, (403, 404, 409)),
    Endpoint("GET", f"{SERVICE}/secrets/{{secret}}", Action.PING, secrets.get_of_service, 200, (403, 404)),
    Endpoint("DELETE", f"{SERVICE}/secrets/{{secret}}", Action.PING, secrets.revoke_of_service, 204, (403, 404)),
    Endpoint("GET", "/issuers", Action.ADMIN, issuers.list_page, 200, (403,)),
    Endpoint("POST", "/issuers", Action.ADMIN, issuers.create, 201, (403, 409)),
    Endpoint("GET", ISSUER, Action.ADMIN, issuers.get, 200, (403, 404)),
    Endpoint("PATCH", ISSUER, Action.ADMIN, issuers.change, 200, (403, 404, 409)),
    Endpoint("DELETE", ISSUER, Action.ADMIN, issuers.remove, 204, (403, 404)),
    Endpoint("GET", f"{ISSUER}/rules", Action.ADMIN, issuers.list_rules, 200, (403, 404)),
    Endpoint("GET", f"{ISSUER}/rules/{{rule}}", Action.ADMIN, issuers.get_rule, 200, (403, 404)),
    Endpoint("PUT", f"{ISSUER}/rules/{{rule}}", Action.ADMIN, issuers.put_rule, 200, (403, 404, 409)),
    Endpoint("DELETE", f"{ISSUER}/rules/{{rule}}", Action.ADMIN, issuers.remove_rule, 204, (403, 404)),
    Endpoint("POST", "/issuer-trials", Action.ADMIN, issuers.try_token, 200, (403,)),
    Endpoint("GET", "/sessions", Action.PING, sessions.list_page, 200, (403, 404)),
    Endpoint("DELETE", "/sessions/{session}", Action.PING, sessions.end, 204, (404,)),
    Endpoint("GET", "/sign-on-providers", Action.ADMIN, sign_on_providers.list_page, 200, (403,)),
    Endpoint("POST", "/sign-on-providers", Action.ADMIN, sign_on_providers.create, 201, (403, 409)),
    Endpoint("GET", SIGN_ON, Action.ADMIN, sign_on_providers.get, 200, (403, 404)),
    Endpoint("PATCH", SIGN_ON, Action.ADMIN, sign_on_providers.change, 200, (403, 404)),
    Endpoint("DELETE", SIGN_ON, Action.ADMIN, sign_on_providers.remove, 204, (403, 404)),
    Endpoint("GET", f"{SIGN_ON}/links", Action.ADMIN, sign_on_providers.list_links, 200, (403, 404)),
    Endpoint("PUT", f"{SIGN_ON}/links/{{user}}", Action.ADMIN, sign_on_providers.put_link, 200, (403, 404, 409)),
    Endpoint("DELETE", f"{SIGN_ON}/links/{{user}}", Action.ADMIN, sign_on_providers.remove_link, 204, (403, 404)),
    Endpoint("GET", "/collection", Action.ADMIN, collection.plan, 200, (403,)),
    Endpoint("GET", "/collection/status", Action.ADMIN, collection.get_status, 200, (403,)),
    Endpoint("POST", "/collection", Action.ADMIN, collection.run, 202, (403,)),
    Endpoint("GET", "/integrity", Action.ADMIN, integrity.get, 200, (403,)),
    Endpoint("GET", "/integrity/damaged", Action.ADMIN, integrity.list_damaged, 200, (403,)),
    Endpoint("POST", "/integrity/scrub", Action.ADMIN, integrity.start, 202, (403, 409)),
    Endpoint("GET", "/jobs", Action.ADMIN, jobs.list_page, 200, (403,)),
    Endpoint("GET", "/jobs/counts", Action.ADMIN, jobs.count, 200, (403,)),
    Endpoint("GET", "/jobs/{job}", Action.ADMIN, jobs.get, 200, (403, 404)),
    Endpoint("DELETE", "/jobs/{job}", Action.ADMIN, jobs.cancel, 204, (403, 404, 409)),
    Endpoint("POST", "/jobs/{job}/retry", Action.ADMIN, jobs.retry, 204, (403, 404, 409)),
    Endpoint("GET", "/job-schedules", Action.ADMIN, job_schedules.list_all, 200, (403,)),
    Endpoint("GET", "/job-schedules/{kind}", Action.ADMIN, job_schedules.get, 200, (403, 404)),
    Endpoint("PATCH", "/job-schedules/{kind}", Action.ADMIN, job_schedules.change, 200, (403, 404)),
    Endpoint("DELETE", "/job-schedules/{kind}", Action.ADMIN, job_schedules.reset, 204, (403, 404)),
    Endpoint("GET", "/signing-keys", Action.ADMIN, signing_keys.list_all, 200, (403,)),
    Endpoint("POST", "/signing-keys", Action.ADMIN, signing_keys.rotate, 200, (403,)),
    Endpoint("GET", "/audit", Action.PING, audit.list_page, 200, (403,)),
    Endpoint("GET", "/audit/records/{record}", Action.ADMIN, audit.get, 200, (403, 404)),
    Endpoint("GET", "/audit/root", Action.ADMIN, audit.get_root, 200, (403, 404)),
    Endpoint("GET", "/audit/verification", Action.ADMIN, audit.verify, 200, (403, 413)),
    Endpoint("GET", "/organisations", Action.PING, organisations.list_page),
    Endpoint("POST", "/organisations", Action.PING, organisations.create, 201, (403, 409)),
    Endpoint("GET", ORGANISATION, READ, organisations.get, 200, (404,)),
    Endpoint("PATCH", ORGANISATION, RUN, organisations.change, 200, (403, 404)),
    Endpoint("DELETE", ORGANISATION, RUN, organisations.remove, 200, (403, 404, 409)),
    Endpoint("GET", f"{ORGANISATION}/members", READ, organisations.list_members, 200, (404,)),
    Endpoint("PUT", f"{ORGANISATION}/members/{{user}}", RUN, organisations.put_member, 200, (403, 404, 409)),
    Endpoint("DELETE", f"{ORGANISATION}/members/{{user}}", READ, organisations.remove_member, 204, (403, 404, 409)),
    Endpoint("GET", f"{ORGANISATION}/teams", READ, teams.list_page, 200, (404,)),
    Endpoint("POST", f"{ORGANISATION}/teams", RUN, teams.create, 201, (403, 404, 409)),
    Endpoint("GET", TEAM, READ, teams.get, 200, (404,)),
    Endpoint("PATCH", TEAM, RUN, teams.change, 200, (403, 404)),
    Endpoint("DELETE", TEAM, RUN, teams.remove, 204, (403, 404)),
    Endpoint("GET", f"{TEAM}/members", READ, teams.list_members, 200, (404,)),
    Endpoint("PUT", f"{TEAM}/members/{{user}}", RUN, teams.put_member, 200, (403, 404, 409)),
    Endpoint("DELETE", f"{TEAM}/members/{{user}}", RUN, teams.remove_member, 204, (403, 404)),
    Endpoint("GET", f"{ORGANISATION}/invitations", RUN, invitations.list_page, 200, (403, 404)),
    Endpoint("PUT", INVITED, RUN, invitations.put, 200, (403, 404, 409)),
    Endpoint("DELETE", INVITED, RUN, invitations.withdraw, 204, (403, 404)),
    Endpoint("GET", "/invitations", Action.PING, invitations.list_own),
    Endpoint("POST", "/invitations/{organisation}/accept", Action.PING, invitations.accept, 200, (404,)),
    Endpoint("DELETE", "/invitations/{organisation}", Action.PING, invitations.decline, 204, (404,)),
    Endpoint("GET", "/roles", Action.PING, roles.list_page),
    Endpoint("POST", "/roles", Action.ADMIN, roles.create, 201, (403, 409)),
    Endpoint("GET", "/roles/{role}", Action.PING, roles.get, 200, (404,)),
    Endpoint("PATCH", "/roles/{role}", Action.ADMIN, roles.change, 200, (403, 404, 409)),
    Endpoint("DELETE", "/roles/{role}", Action.ADMIN, roles.remove, 204, (403, 404, 409)),
    Endpoint("GET", "/plans", Action.PING, plans.list_page),
    Endpoint("GET", "/plans/{plan}", Action.PING, plans.get, 200, (404,)),
    Endpoint("PUT", "/plans/{plan}", Action.ADMIN, plans.put, 200, (403,)),
    Endpoint("DELETE", "/plans/{plan}", Action.ADMIN, plans.remove, 204, (403, 404, 409)),
    Endpoint("GET", "/plan-book", Action.ADMIN, plan_book.get, 200, (403, 413)),
    Endpoint("PUT", "/plan-book", Action.ADMIN, plan_book.put, 200, (403, 409, 412, 413)),
    Endpoint("POST", "/plan-book/changes", Action.ADMIN, plan_book.compare, 200, (403, 409, 413)),
    Endpoint("GET", "/owners/{owner}/plan", Action.PING, plans.get_of_owner, 200, (404,)),
    Endpoint("PUT", "/owners/{owner}/plan", Action.ADMIN, plans.assign, 200, (403, 404)),
    Endpoint("DELETE", "/owners/{owner}/plan", Action.ADMIN, plans.unassign, 204, (403, 404)),
    Endpoint("GET", "/pull-usage", Action.PING, plans.get_own, 200, (404,)),
]
