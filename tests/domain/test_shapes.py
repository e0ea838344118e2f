"""What documents of another shape are told: the path, and what could stand there."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from entrepot.domain.shapes import explain_shape


class Colour(enum.Enum):
    """Values of an enumeration."""

    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """What is inside."""

    days: Annotated[tuple[Literal["mon", "sun"], ...], msgspec.Meta(description="Days.")] = ()
    colours: Annotated[list[Colour], msgspec.Meta(max_length=9)] = []


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    """What is outside."""

    one: Inner | None = None
    many: dict[str, Inner] = {}
    pair: tuple[int, int] | None = None
    number: int = 0


@pytest.mark.parametrize(
    ("document", "field", "allowed"),
    [
        ({"one": {"days": ["mon", "x"]}}, "one.days[1]", ["mon", "sun"]),
        ({"one": {"colours": ["x"]}}, "one.colours[0]", ["red", "blue"]),
        ({"one": {"x": 1}}, "one.x", ["days", "colours"]),
        ({"many": {"a": {"days": ["x"]}}}, "many[...].days[0]", ["mon", "sun"]),
        ({"x": 1}, "x", ["one", "many", "pair", "number"]),
        ({"number": "1"}, "number", None),
        ({"pair": [1, "x"]}, "pair[1]", None),
        ([], "", None),
    ],
)
def test_the_path_and_what_is_allowed_there(document: Any, field: str, allowed: list[str] | None) -> None:
    """The values of an enumeration and the fields of an object; nothing where the message says it all."""
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(document, Outer)
    told = explain_shape(raised.value, Outer)
    assert (told.detail["field"], told.detail.get("allowed")) == (field, allowed)
    assert told.message.startswith(f"{field}: " if field else "Expected")
    assert explain_shape(raised.value, Outer, "at[0]").detail["field"] == f"at[0].{field}".rstrip(".")


def test_a_field_of_a_kind_that_has_none_is_told_without_a_choice() -> None:
    """A type that nothing is known about the inside of offers nothing."""

    class Mixed(msgspec.Struct):
        """A tuple of a fixed length."""

        pair: tuple[Literal["a"], int]

    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({"pair": ["x", 1]}, Mixed)
    assert "allowed" not in explain_shape(raised.value, Mixed).detail
