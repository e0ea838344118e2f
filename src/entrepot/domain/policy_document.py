"""Grants as a JSON policy document of Effect, Action, Resource and Condition, as users of IAM and ECR write them.

Sources: AWS "IAM JSON policy elements reference" and "Repository policy examples" of Amazon ECR. What has no meaning
here is refused with its path, never left out: a condition that nobody looks at would widen the policy. Names of
repositories in ARNs are IAM's, where a star stands for slashes as well; plain ones are ours, as we write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from entrepot.domain.access import Action
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.grants import GRANTABLE, Conditions, Day, Effect, Hours
from entrepot.domain.names import DEFAULT_NAMESPACE
from entrepot.domain.networks import require_network
from entrepot.domain.patterns import is_pattern, matches
from entrepot.domain.shapes import explain_shape

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
ARN: Final = re.compile(r"arn:aws[a-z-]*:ecr:[a-z0-9*-]*:[\d*]*:repository/(.+)")
TEXTS: Final = {
    ("StringLike", "entrepot:clientcertificate"): "clients",
    ("StringEquals", "entrepot:clientcertificate"): "clients",
    ("StringEquals", "entrepot:listener"): "listeners",
}
# Said in the words of IAM, and so not in the block of our own.
BY_IAM: Final = ("networks", "not_networks", "not_before", "not_after")
CONDITIONS: Final = (
    "IpAddress and NotIpAddress aws:SourceIp, DateGreaterThanEquals and DateLessThan aws:CurrentTime, "
    "StringLike and StringEquals entrepot:Tag and entrepot:ClientCertificate, StringEquals entrepot:Listener, "
    "and Entrepot with days, hours, clients and listeners"
)


class _Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The conditions that IAM has no words for."""

    days: tuple[Day, ...] = ()
    hours: Hours | None = None
    clients: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()


class Stated(msgspec.Struct, frozen=True):
    """One grant that a document states; `principal` as the document names it."""

    principal: str
    actions: tuple[str, ...]
    resource: str
    effect: Effect
    tags: str
    conditions: Conditions | None
    path: str


def parse_policy(document: Any, resource: str | None) -> list[Stated]:
    """Grants out of a policy document; statements without a Resource, or with a star for it, are about `resource`.

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


def _parse_statement(statement: Any, path: str, resource: str | None) -> list[Stated]:
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
        found += [_text(value, f"{path}.{name}") for value in _some(values, f"{path}.{name}")]
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


def _parse_resources(given: Any, path: str, resource: str | None) -> list[str]:
    if given is None:
        return [_pasted_to(resource, "this statement has no Resource, as the policy of an ECR repository", path)]
    found = []
    for position, value in enumerate(_some(given, path)):
        where = f"{path}[{position}]"
        if value == "*":
            found.append(_pasted_to(resource, "a star is whatever the document is about", where))
        elif isinstance(value, str) and value.startswith("arn:"):
            found += _parse_arn(value, where)
        else:
            # An empty one is the registry itself, as we write it.
            found.append(value if value == "" else _text(value, where))
    return found


def _pasted_to(resource: str | None, reason: str, path: str) -> str:
    if resource is None:
        raise RequestInvalid(
            f"{reason}: say what it is about by `resource`, on the command line --resource acme/web "
            "(--resource '*' for every namespace)",
            field=path,
        )
    return resource


def _parse_arn(text: str, path: str) -> list[str]:
    """The patterns that together stand for the repositories of an ARN, each of them by the name that it has here."""
    named = ARN.fullmatch(text)
    if named is None:
        raise RequestInvalid("only ARNs of ECR repositories mean something here", field=path, got=text)
    _refuse_single(text, path)
    place = _spanning(named[1])
    if "/" in place:
        return [place]
    # Without a namespace a repository is in the default one, for clients as well.
    alone = [] if place.startswith("**") else [f"{DEFAULT_NAMESPACE}/{place}"]
    if place.endswith("**"):
        return [place, *alone]
    # What fits the name of a namespace would be about all that is in it: the slash is in one of the stars.
    parts = place.split("**")
    cuts = range(1, len(parts))
    return [f"{'**'.join(parts[:cut])}**/**{'**'.join(parts[cut:])}" for cut in cuts] + alone


def _spanning(text: str) -> str:
    """A pattern of IAM's, where a star stands for slashes as well."""
    return re.sub(r"\*+", "**", text)


def _refuse_single(text: str, path: str) -> None:
    if "?" in text:
        message = "a ? of IAM stands for a slash as well, which no pattern here does: write a star, or the names"
        raise RequestInvalid(message, field=path, got=text)


def _parse_conditions(given: Any, path: str) -> tuple[str, Conditions | None]:
    if not isinstance(given, dict):
        raise RequestInvalid("conditions are an object of operators", field=path)
    found: dict[str, Any] = {}
    for operator, keys in given.items():
        for name, value, where in _parse_operator(operator, keys, f"{path}.{operator}"):
            if name in found:
                raise RequestInvalid(
                    "this condition is there already, and both would have to hold: write one that says both",
                    field=where,
                )
            found[name] = value
    tags = found.pop("tags", "")
    return tags, msgspec.convert(found, Conditions) if found else None


def _parse_operator(operator: str, keys: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    """Each condition under an operator: which of ours it is, its value and its path."""
    if not isinstance(keys, dict) or not keys:
        raise _unsupported(path)
    if operator == "Entrepot":
        yield from ((name, value, f"{path}.{name}") for name, value in _parse_own(keys, path).items())
        return
    for key, value in keys.items():
        where = f"{path}.{key}"
        yield *_parse_condition((operator, key.lower()), value, where), where


def _parse_condition(asked: tuple[str, str], value: Any, path: str) -> tuple[str, Any]:
    match asked:
        case ("IpAddress", "aws:sourceip" | "entrepot:sourceip"):
            return "networks", _networks(value, path)
        case ("NotIpAddress", "aws:sourceip" | "entrepot:sourceip"):
            return "not_networks", _networks(value, path)
        case ("DateGreaterThan" | "DateGreaterThanEquals", "aws:currenttime" | "entrepot:currenttime"):
            return "not_before", _moment(value, path)
        case ("DateLessThan" | "DateLessThanEquals", "aws:currenttime" | "entrepot:currenttime"):
            return "not_after", _moment(value, path)
        case ("StringLike" | "StringEquals", "entrepot:tag"):
            return "tags", _tag(asked[0], value, path)
    named = TEXTS.get(asked)
    if named is None:
        raise _unsupported(path)
    return named, [_like(asked[0], each, path) for each in _some(value, path)]


def _tag(operator: str, value: Any, path: str) -> str:
    first, *others = _some(value, path)
    if others:
        raise RequestInvalid("a grant has one pattern of tags: make a statement for each", field=path)
    text = _text(first, path)
    return text if operator == "StringLike" else _like(operator, text, path)


def _like(operator: str, value: Any, path: str) -> str:
    text = _text(value, path)
    if operator == "StringLike":
        _refuse_single(text, path)
        return _spanning(text)
    if is_pattern(text):
        raise RequestInvalid("StringEquals takes * and ? as they are: write StringLike", field=path, got=text)
    return text


def _unsupported(path: str) -> RequestInvalid:
    return RequestInvalid(f"this condition is not supported; there are: {CONDITIONS}", field=path)


def _parse_own(keys: dict[str, Any], path: str) -> dict[str, Any]:
    for name in BY_IAM:
        if name in keys:
            raise RequestInvalid(f"this is said by IAM's own operators: {CONDITIONS}", field=f"{path}.{name}")
    try:
        conditions = msgspec.convert(keys, _Own)
    except msgspec.ValidationError as error:
        raise explain_shape(error, _Own, path) from None
    own: dict[str, Any] = msgspec.to_builtins(conditions)
    for name in keys:
        if name not in own:
            raise RequestInvalid("this condition has no value: leave it out", field=f"{path}.{name}")
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


def _some(given: Any, path: str) -> list[Any]:
    """What is listed; nothing at all would be looked at by nobody."""
    values = _listed(given)
    if not values:
        raise RequestInvalid("there is at least one value: leave it out, or say which", field=path)
    return values


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise RequestInvalid("this is a text", field=path)
    return value


def _networks(value: Any, path: str) -> list[str]:
    return [require_network(_text(each, path), path) for each in _some(value, path)]


def _moment(value: Any, path: str) -> datetime:
    try:
        moment = msgspec.convert(_text(value, path), datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestInvalid("a time is written like 2026-12-31T00:00:00Z, with its zone", field=path)
    return moment
