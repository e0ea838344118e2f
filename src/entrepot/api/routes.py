"""The route table: every endpoint with the action it needs, what it answers and how it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from entrepot.api import issuers, jobs, members, namespaces, repositories, tags, users, whoami
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
ISSUER: Final = "/issuers/{issuer}"

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
    Endpoint("GET", "/jobs", Action.ADMIN, jobs.count, 200, (403,)),
    Endpoint("GET", "/jobs/dead", Action.ADMIN, jobs.list_dead, 200, (403,)),
]
