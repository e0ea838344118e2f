"""What is wrong with a document that does not have the shape of its type: where, and what would be allowed there."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import inspect

from entrepot.domain.errors import RequestInvalid

FIELD: Final = re.compile(r"(?:unknown|required) field `([^`]*)`")
STEP: Final = re.compile(r"\[[^]]*\]|[^.\[]+")
ENUM: Final = "Invalid enum value"
UNKNOWN: Final = "contains unknown field"


def explain_shape(error: Exception, shape: Any, at: str = "") -> RequestInvalid:
    """What an error of msgspec says about a document of this type, with the path of the field and what it may be.

    `at` is where the document is in a larger one.
    """
    message, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`")
    named = FIELD.search(message)
    field = ".".join(part for part in (f"{at}{path}".lstrip("."), named[1] if named else "") if part)
    allowed = _allowed(shape, path, message)
    sentence = f"{message}; there are: {', '.join(allowed)}" if allowed else message
    detail = {"allowed": allowed} if allowed else {}
    return RequestInvalid(f"{field}: {sentence}" if field else sentence, field=field, **detail)


def _allowed(shape: Any, path: str, message: str) -> list[str]:
    if ENUM not in message and UNKNOWN not in message:
        return []
    found = _choices(inspect.type_info(shape))
    for step in STEP.findall(path):
        found = [choice for each in found for inner in _inside(each, step) for choice in _choices(inner)]
    if ENUM in message:
        return [str(value) for each in found for value in _values(each)]
    return [field.encode_name for each in found if isinstance(each, inspect.StructType) for field in each.fields]


def _choices(kind: inspect.Type) -> list[inspect.Type]:
    """The types that one of these may be."""
    if isinstance(kind, inspect.Metadata):
        return _choices(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [choice for each in kind.types for choice in _choices(each)]
    return [kind]


def _inside(kind: inspect.Type, step: str) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == step]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return [kind.item_type]
    return [kind.value_type] if isinstance(kind, inspect.DictType) else []


def _values(kind: inspect.Type) -> list[Any]:
    if isinstance(kind, inspect.LiteralType):
        return list(kind.values)
    return [each.value for each in kind.cls] if isinstance(kind, inspect.EnumType) else []
