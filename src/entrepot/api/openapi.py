"""The OpenAPI 3.1 document: paths as Litestar finds them, types as msgspec judges them, errors as we render them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args, get_type_hints

import msgspec
from litestar.openapi import OpenAPIConfig

from entrepot import __version__
from entrepot.api.errors import TABLE, Problems
from entrepot.api.face import PREFIX
from entrepot.api.routes import Endpoint
from entrepot.api.types import ACTIONS, DIGEST, GROUP
from entrepot.domain.access import Action
from entrepot.domain.audit import Category
from entrepot.domain.directory import LONGEST_GROUP
from entrepot.domain.json import render_json
from entrepot.domain.names import DEFAULT_NAMESPACE, LONGEST_NAMESPACE, LONGEST_REPOSITORY, NAMESPACE, REPOSITORY, TAG
from entrepot.domain.services import LONGEST_SERVICE

CONFIG: Final = OpenAPIConfig(title="Entrepot", version=__version__, render_plugins=[], create_examples=False)
REFERENCE: Final = "#/components/schemas/{name}"
DESCRIPTION: Final = (
    "Users, organisations, namespaces, roles, repositories and tags of one registry. The name of a repository is one "
    "path parameter: write its slashes as %2F. Times are RFC 3339, in UTC."
)
# Read by messages of the domain, said here for those who generate requests.
PARAMETERS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("path", "namespace"): {"pattern": f"^(?:{NAMESPACE.pattern})$", "maxLength": LONGEST_NAMESPACE},
    ("path", "repository"): {
        "pattern": f"^(?:{REPOSITORY.pattern})$",
        "anyOf": [
            {"maxLength": LONGEST_REPOSITORY - len(DEFAULT_NAMESPACE) - 1},
            {"pattern": "/", "maxLength": LONGEST_REPOSITORY},
        ],
    },
    ("path", "tag"): {"pattern": f"^(?:{TAG.pattern})$", "maxLength": 128},
    ("path", "organisation"): {"pattern": f"^(?:{NAMESPACE.pattern})$", "maxLength": LONGEST_NAMESPACE},
    ("path", "team"): {"minLength": 1, "maxLength": LONGEST_NAMESPACE},
    ("path", "role"): {"minLength": 1, "maxLength": LONGEST_NAMESPACE},
    ("path", "issuer"): {"pattern": f"^(?:{NAMESPACE.pattern})$", "maxLength": LONGEST_NAMESPACE},
    ("path", "rule"): {"pattern": f"^(?:{NAMESPACE.pattern})$", "maxLength": LONGEST_NAMESPACE},
    ("query", "give_to"): {"pattern": f"^(?:{NAMESPACE.pattern})?$"},
    ("query", "group"): {"minLength": 1, "maxLength": LONGEST_GROUP, "pattern": GROUP},
    ("path", "user"): {"minLength": 1, "maxLength": LONGEST_SERVICE},
    ("path", "account"): {"minLength": 1, "maxLength": LONGEST_SERVICE},
    ("path", "token"): {"pattern": "^[1-9][0-9]{0,14}$"},
    ("path", "secret"): {"pattern": "^[1-9][0-9]{0,14}$"},
    ("path", "invitation"): {"pattern": "^[2-9a-hjkmnp-z]{10}$"},
    ("query", "organisation"): {"pattern": f"^(?:{NAMESPACE.pattern})?$"},
    ("path", "record"): {"pattern": "^[1-9][0-9]{0,17}$"},
    ("query", "category"): {"enum": ["", *sorted(Category)]},
    ("query", "namespace"): {"pattern": f"^(?:{NAMESPACE.pattern})?$"},
    ("query", "action"): {"enum": ACTIONS},
    ("query", "expected"): {"pattern": f"^(?:{DIGEST[1:-1]})?$"},
}
# What one field says of others.
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "NewIssuer": {
        "anyOf": [
            {
                "properties": {"kind": {"enum": ["oidc"]}, "url": {"minLength": 1}, "regions": {"maxItems": 0}},
                "required": ["url"],
            },
            {
                "properties": {"kind": {"enum": ["aws"]}, "regions": {"minItems": 1}, "jwks": {"maxLength": 0}},
                "required": ["kind", "regions"],
            },
        ]
    },
}
REASONS: Final = {
    400: "The request is not as this document says; `detail.field` names the field or parameter.",
    401: "No credentials, wrong ones, or a token that does not cover this; `WWW-Authenticate` says what would do.",
    403: "You are known and may not do this; `detail.reasons` says why.",
    404: "It is not there, or not for you: nobody can tell which.",
    409: "The present state refuses this.",
    412: "The tag does not stand where `expected` says; `detail.found` says where it does.",
    413: "The body is too large.",
    414: "The path and query are longer than the API takes.",
    429: "Too many passwords are being checked; `Retry-After` says when to try again.",
    503: "The database, the store or the directory cannot be reached now; `Retry-After` says when to try again.",
}
EVERYWHERE: Final = (400, 401, 414, 429, 503)
CREATED: Final = 201
TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": TEXT},
    429: {"Retry-After": TEXT},
    503: {"Retry-After": TEXT},
}


def operation_id(endpoint: Endpoint) -> str:
    """A stable name for generated clients: `tags_roll_back`."""
    module = endpoint.handler.__module__.rpartition(".")[2]
    return f"{module}_{endpoint.handler.__name__}"


def describe(found: dict[str, Any], endpoints: Sequence[Endpoint]) -> bytes:
    """The document as JSON. `found` is what Litestar makes of the handlers."""
    for endpoint in endpoints:
        operation = found["paths"][PREFIX + endpoint.path][endpoint.method.lower()]
        _complete(operation, endpoint)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Entrepot management API", "version": __version__, "description": DESCRIPTION},
        "paths": found["paths"],
        "components": {
            "schemas": _schemas(endpoints),
            "responses": {str(status): _failure(status) for status in REASONS},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "User name and password or secret."},
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A personal token, a service account's secret, or, for tags, a token of `/token`.",
                },
            },
        },
    }
    return render_json(document)


def _complete(operation: dict[str, Any], endpoint: Endpoint) -> None:
    if "parameters" in operation:
        operation["parameters"] = [_parameter(found) for found in operation["parameters"]]
    success = operation["responses"][str(endpoint.status)]
    success["headers"] = _success_headers(operation, endpoint)
    statuses = {*EVERYWHERE, *endpoint.failures, *((413,) if "requestBody" in operation else ())}
    operation["responses"] = {
        str(endpoint.status): success,
        **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)},
    }
    operation["summary"] = (endpoint.handler.__doc__ or "").strip().partition("\n")[0]
    schemes: list[dict[str, list[str]]] = [{"basic": []}, {"bearer": []}]
    operation["security"] = [*schemes, {}] if endpoint.needs in {Action.PULL, Action.TOKEN} else schemes


def _parameter(found: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in found["schema"].items() if key != "description"}
    schema |= PARAMETERS.get((found["in"], found["name"]), {})
    kept: dict[str, Any] = {key: found[key] for key in ("name", "in", "description", "required") if key in found}
    return {**kept, "schema": schema}


def _success_headers(operation: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    headers: dict[str, Any] = {}
    if "last" in names:
        headers["Link"] = {"description": 'The next page, `rel="next"`, where there is one.', **TEXT}
    if endpoint.status == CREATED:
        headers["Location"] = {"description": "Where the new resource is.", **TEXT}
    return headers


def _schemas(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    # What decodes the bodies describes them: patterns, constraints and closed objects included.
    wanted: list[Any] = [Problems]
    for endpoint in endpoints:
        hints = get_type_hints(endpoint.handler)
        answer = hints["return"]
        wanted += [each for each in (*(get_args(answer) or (answer,)), hints.get("data")) if _is_struct(each)]
    _, components = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
    return {name: schema | SHAPES.get(name, {}) for name, schema in components.items()}


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _failure(status: int) -> dict[str, Any]:
    codes = sorted({entry.code for entry in TABLE.values() if entry.status == status})
    schema = REFERENCE.format(name=Problems.__name__)
    return {
        "description": f"{REASONS[status]} Codes: {', '.join(codes)}.",
        "headers": HEADERS.get(status, {}),
        "content": {"application/json": {"schema": {"$ref": schema}}},
    }
