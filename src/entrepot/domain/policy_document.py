"""Grants as a JSON policy document of Effect, Action, Resource and Condition, as users of IAM and ECR write them.

Sources: AWS "IAM JSON policy elements reference" and "Repository policy examples" of Amazon ECR. What has no meaning
here is refused with its path, never left out: a condition that nobody looks at would widen the policy.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import msgspec

from entrepot.domain.access import Action
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.grants import GRANTABLE, Conditions, Effect
from entrepot.domain.patterns import matches

VERSION: Final = "2012-10-17"
VERSIONS: Final = frozenset({VERSION, "2008-10-17"})
OURS: Final = "entrepot:"
_PULL: Final = frozenset({Action.PULL})
_RULES: Final = frozenset({Action.POLICY_WRITE})
# What each action of ECR's is here.
ECR: Final[dict[str, frozenset[Action]]] = {
    "ecr:BatchGetImage": _PULL,
    "ecr:GetDownloadUrlForLayer": _PULL,
    "ecr:BatchCheckLayerAvailability": _PULL,
    "ecr:DescribeImages": _PULL,
    "ecr:DescribeRepositories": _PULL,
    "ecr:ListImages": _PULL,
    "ecr:DescribeImageScanFindings": frozenset({Action.SCAN_READ}),
    "ecr:InitiateLayerUpload": frozenset({Action.PUSH}),
    "ecr:UploadLayerPart": frozenset({Action.PUSH}),
    "ecr:CompleteLayerUpload": frozenset({Action.PUSH}),
    "ecr:PutImage": frozenset({Action.PUSH, Action.TAG_CREATE, Action.TAG_MOVE}),
    "ecr:BatchDeleteImage": frozenset({Action.DELETE, Action.TAG_DELETE}),
    "ecr:CreateRepository": frozenset({Action.REPOSITORY_CREATE}),
    "ecr:DeleteRepository": frozenset({Action.REPOSITORY_ADMIN}),
    "ecr:SetRepositoryPolicy": frozenset({Action.REPOSITORY_ADMIN}),
    "ecr:DeleteRepositoryPolicy": frozenset({Action.REPOSITORY_ADMIN}),
    "ecr:GetRepositoryPolicy": frozenset({Action.REPOSITORY_ADMIN}),
    "ecr:PutLifecyclePolicy": _RULES,
    "ecr:DeleteLifecyclePolicy": _RULES,
    "ecr:PutImageTagMutability": _RULES,
    "ecr:PutImageScanningConfiguration": _RULES,
}
ALL: Final[dict[str, frozenset[Action]]] = ECR | {
    f"{OURS}{action.value}": frozenset({action}) for action in sorted(GRANTABLE)
}
ARN: Final = re.compile(r"arn:aws[a-z-]*:ecr:[a-z0-9-]*:\d*:repository/(.+)")
TEXTS: Final = {
    ("StringLike", "entrepot:clientcertificate"): "clients",
    ("StringEquals", "entrepot:clientcertificate"): "clients",
    ("StringEquals", "entrepot:listener"): "listeners",
}
CONDITIONS: Final = (
    "IpAddress and NotIpAddress aws:SourceIp, DateGreaterThanEquals and DateLessThan aws:CurrentTime, "
    "StringLike and StringEquals entrepot:Tag and entrepot:ClientCertificate, StringEquals entrepot:Listener, "
    "and Entrepot with days, hours, clients and listeners"
)


class Stated(msgspec.Struct, frozen=True):
    """One grant that a document states; `principal` as the document names it."""

    principal: str
    actions: tuple[str, ...]
    resource: str
    effect: Effect
    tags: str
    conditions: Conditions | None
    path: str


def parse_policy(document: Any, resource: str) -> list[Stated]:
    """Grants out of a policy document; statements without a Resource are about `resource`.

    Raises RequestInvalid with the path of what it does not understand.
    """
    if not isinstance(document, dict):
        raise RequestInvalid("a policy document is an object with a list of statements", field="")
    for name in document:
        if name not in {"Version", "Id", "Statement"}:
            raise RequestInvalid("a policy document has Version, Id and Statement", field=str(name))
    if document.get("Version", VERSION) not in VERSIONS:
        raise RequestInvalid(f"the version is one of {', '.join(sorted(VERSIONS))}", field="Version")
    statements = _listed(document.get("Statement"))
    if not statements:
        raise RequestInvalid("a policy document has at least one statement", field="Statement")
    return [
        stated
        for position, statement in enumerate(statements)
        for stated in _parse_statement(statement, f"Statement[{position}]", resource)
    ]


def render_policy(stated: list[Stated]) -> dict[str, Any]:
    """A document that states these grants, principals in our own words."""
    return {"Version": VERSION, "Statement": [_render_statement(each) for each in stated]}


def _parse_statement(statement: Any, path: str, resource: str) -> list[Stated]:
    if not isinstance(statement, dict):
        raise RequestInvalid("a statement is an object", field=path)
    for name in statement:
        if name not in {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}:
            raise RequestInvalid(
                "a statement has Sid, Effect, Principal, Action, Resource and Condition", field=f"{path}.{name}"
            )
    effect = statement.get("Effect")
    if effect not in {"Allow", "Deny"}:
        raise RequestInvalid("the effect is Allow or Deny", field=f"{path}.Effect")
    actions = _parse_actions(statement.get("Action"), f"{path}.Action")
    tags, conditions = _parse_conditions(statement.get("Condition", {}), f"{path}.Condition")
    return [
        Stated(principal, actions, place, "allow" if effect == "Allow" else "deny", tags, conditions, path)
        for principal in _parse_principals(statement.get("Principal"), f"{path}.Principal")
        for place in _parse_resources(statement.get("Resource"), f"{path}.Resource", resource)
    ]


def _parse_principals(given: Any, path: str) -> list[str]:
    if isinstance(given, str):
        return [_text(given, path)]
    if not isinstance(given, dict) or not given:
        raise RequestInvalid('the principal is "*" or an object such as {"Entrepot": ["user:alice"]}', field=path)
    found = []
    for name, values in given.items():
        if name not in {"AWS", "Entrepot"}:
            raise RequestInvalid("principals are under AWS or Entrepot", field=f"{path}.{name}")
        found += [_text(value, f"{path}.{name}") for value in _listed(values)]
    return found


def _parse_actions(given: Any, path: str) -> tuple[str, ...]:
    words = _listed(given)
    if not words:
        raise RequestInvalid("a statement has at least one action", field=path)
    found: set[Action] = set()
    for position, word in enumerate(words):
        named = [actions for name, actions in ALL.items() if _names(_text(word, path), name)]
        if not named:
            known = ", ".join(ALL)
            raise RequestInvalid(
                f"there is no such action here; there are: {known}", field=f"{path}[{position}]", got=word
            )
        found = found.union(*named)
    return tuple(sorted(action.value for action in found))


def _names(word: str, name: str) -> bool:
    # Actions of IAM are compared whatever their case, and a star stands for anything.
    return word == "*" or matches(word.lower().replace("*", "**"), name.lower())


def _parse_resources(given: Any, path: str, resource: str) -> list[str]:
    if given is None:
        return [resource]
    found = []
    for position, value in enumerate(_listed(given)):
        text = _text(value, f"{path}[{position}]")
        named = ARN.fullmatch(text)
        if text.startswith("arn:") and named is None:
            raise RequestInvalid(
                "only ARNs of ECR repositories mean something here", field=f"{path}[{position}]", got=text
            )
        found.append(named[1] if named else resource if text == "*" else text)
    return found


def _parse_conditions(given: Any, path: str) -> tuple[str, Conditions | None]:
    if not isinstance(given, dict):
        raise RequestInvalid("conditions are an object of operators", field=path)
    tags, found = "", dict[str, Any]()
    for operator, keys in given.items():
        if operator == "Entrepot":
            found |= _parse_own(keys, f"{path}.{operator}")
            continue
        for key, value in (keys if isinstance(keys, dict) else {"": None}).items():
            where = f"{path}.{operator}.{key}"
            match (operator, key.lower()):
                case ("IpAddress", "aws:sourceip" | "entrepot:sourceip"):
                    found["networks"] = [_network(each, where) for each in _listed(value)]
                case ("NotIpAddress", "aws:sourceip" | "entrepot:sourceip"):
                    found["not_networks"] = [_network(each, where) for each in _listed(value)]
                case ("DateGreaterThan" | "DateGreaterThanEquals", "aws:currenttime" | "entrepot:currenttime"):
                    found["not_before"] = _moment(value, where)
                case ("DateLessThan" | "DateLessThanEquals", "aws:currenttime" | "entrepot:currenttime"):
                    found["not_after"] = _moment(value, where)
                case ("StringLike" | "StringEquals", "entrepot:tag"):
                    tags = _text(value, where)
                case _:
                    found[_named(operator, key, where)] = [_text(each, where) for each in _listed(value)]
    return tags, msgspec.convert(found, Conditions) if found else None


def _named(operator: str, key: str, path: str) -> str:
    """Which of our conditions a list of names is for."""
    named = TEXTS.get((operator, key.lower()))
    if named is None:
        raise RequestInvalid(f"this condition is not supported; there are: {CONDITIONS}", field=path)
    return named


def _parse_own(keys: Any, path: str) -> dict[str, Any]:
    try:
        conditions = msgspec.convert(keys, Conditions)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"{error}", field=path) from None
    own: dict[str, Any] = msgspec.to_builtins(conditions)
    for name in ("networks", "not_networks", "not_before", "not_after"):
        if name in own:
            raise RequestInvalid(f"this is said by IAM's own operators: {CONDITIONS}", field=f"{path}.{name}")
    return own


def _render_statement(stated: Stated) -> dict[str, Any]:
    principal: Any = "*" if stated.principal == "everyone" else {"Entrepot": [stated.principal]}
    statement: dict[str, Any] = {
        "Effect": "Allow" if stated.effect == "allow" else "Deny",
        "Principal": principal,
        "Action": [f"{OURS}{action}" for action in stated.actions],
        "Resource": stated.resource,
    }
    condition: dict[str, Any] = {"StringLike": {"entrepot:Tag": stated.tags}} if stated.tags else {}
    if stated.conditions is not None:
        condition |= _render_conditions(msgspec.to_builtins(stated.conditions))
    return {**statement, "Condition": condition} if condition else statement


def _render_conditions(found: dict[str, Any]) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    if "networks" in found:
        rendered["IpAddress"] = {"aws:SourceIp": list(found.pop("networks"))}
    if "not_networks" in found:
        rendered["NotIpAddress"] = {"aws:SourceIp": list(found.pop("not_networks"))}
    if "not_before" in found:
        rendered["DateGreaterThanEquals"] = {"aws:CurrentTime": found.pop("not_before")}
    if "not_after" in found:
        rendered["DateLessThan"] = {"aws:CurrentTime": found.pop("not_after")}
    return {**rendered, "Entrepot": found} if found else rendered


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise RequestInvalid("this is a text", field=path)
    return value


def _network(value: Any, path: str) -> str:
    text = _text(value, path)
    return text if "/" in text else f"{text}/{'128' if ':' in text else '32'}"


def _moment(value: Any, path: str) -> datetime:
    try:
        return msgspec.convert(_text(value, path), datetime)
    except msgspec.ValidationError:
        raise RequestInvalid("a time is written like 2026-12-31T00:00:00Z", field=path) from None
