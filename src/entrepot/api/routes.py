"""The route table: every endpoint with the action it needs, what it answers and how it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from entrepot.api import jobs, members, namespaces, repositories, secrets, service_accounts, tags, users, whoami
from entrepot.domain.access import Action


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row. `needs` is judged before the handler runs; a verb may judge more.

    `failures` are its own statuses, beside those that every endpoint has.
    """

    method: str
    path: str
    needs: Action
    handler: Callable[..., Any]
    status: int = 200
    failures: tuple[int, ...] = ()


NAMESPACE: Final = "/namespaces/{namespace}"
REPOSITORY: Final = "/repositories/{repository}"
TAG: Final = f"{REPOSITORY}/tags/{{tag}}"
TOKENS: Final = "/users/{user}/tokens"
SERVICE: Final = "/service-accounts/{account}"

ENDPOINTS: Final = [
    Endpoint("GET", "/whoami", Action.PING, whoami.get),
    Endpoint("GET", "/users", Action.ADMIN, users.list_page, 200, (403,)),
    Endpoint("POST", "/users", Action.ADMIN, users.create, 201, (403, 409)),
    Endpoint("GET", "/users/{user}", Action.PING, users.get, 200, (403, 404)),
    Endpoint("DELETE", "/users/{user}", Action.ADMIN, users.remove, 204, (403, 404, 409)),
    Endpoint("PUT", "/users/{user}/password", Action.PING, users.change_password, 204, (403, 404, 409)),
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
    Endpoint("PUT", TAG, Action.TAG_MOVE, tags.put, 200, (403, 404, 409, 412)),
    Endpoint("DELETE", TAG, Action.TAG_DELETE, tags.remove, 204, (403, 404, 412)),
    Endpoint("GET", f"{TAG}/history", Action.PULL, tags.list_history, 200, (404,)),
    Endpoint("POST", f"{TAG}/rollback", Action.TAG_MOVE, tags.roll_back, 200, (403, 404, 409, 412)),
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
    Endpoint("GET", "/jobs", Action.ADMIN, jobs.count, 200, (403,)),
    Endpoint("GET", "/jobs/dead", Action.ADMIN, jobs.list_dead, 200, (403,)),
]
