"""What a token must claim: conditions by claim, each with the values that would do; and the text form of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.patterns import is_pattern, matches, require_pattern

# Claim -> values, one of which must fit: a text as it is, or a pattern.
ClaimConditions = Mapping[str, tuple[str, ...]]

CLAIM: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
VALUE: Final = re.compile(r"[^\x00-\x1f\x7f]+")
TERM: Final = re.compile(r"\s*(?P<claim>[^\s=&!<>~]+)\s*(?P<operator>==|=~)\s*(?P<value>\"[^\"]*\"|[^\s\"&]+)\s*")
ALIASES: Final = {"repo": "repository"}
MOST_CONDITIONS: Final = 20
MOST_VALUES: Final = 50
# What a pattern is held against is bounded, because every star multiplies the cost of a value that nearly fits.
LONGEST_VALUE: Final = 512
MOST_STARS: Final = 3


def parse_conditions(text: str) -> dict[str, tuple[str, ...]]:
    """Conditions out of `repo == acme/app && ref =~ refs/tags/*`; `repo` stands for GitHub's claim `repository`.

    Values with spaces stand in double quotes. The same claim twice means both must hold, which no rule can say: give
    the values as one pattern. Raises RequestInvalid with what is allowed.
    """
    found: dict[str, tuple[str, ...]] = {}
    if not text.strip():
        return found
    for part in text.split("&&"):
        term = TERM.fullmatch(part)
        if term is None:
            raise RequestInvalid(
                f"{part.strip()!r} is no condition; write CLAIM == VALUE or CLAIM =~ PATTERN, joined by &&",
                field="conditions",
            )
        claim, value = ALIASES.get(term["claim"], term["claim"]), term["value"].strip('"')
        if term["operator"] == "==" and is_pattern(value):
            raise RequestInvalid(f"{value!r} is a pattern: write {claim} =~ {value}", field=f"conditions.{claim}")
        if claim in found:
            raise RequestInvalid(f"{claim} is asked for twice; one pattern says both", field=f"conditions.{claim}")
        found[claim] = (value,)
    return found


def render_conditions(conditions: ClaimConditions) -> str:
    """Conditions as people read them; several values of one claim stand in brackets."""
    return " && ".join(f"{claim} {_render_values(values)}" for claim, values in conditions.items())


def require_conditions(conditions: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Conditions that can be judged. Raises RequestInvalid with the field and what is allowed."""
    if len(conditions) > MOST_CONDITIONS:
        raise RequestInvalid(f"a rule has at most {MOST_CONDITIONS} conditions", field="conditions")
    for claim, values in conditions.items():
        field = f"conditions.{claim}"
        if not CLAIM.fullmatch(claim):
            raise RequestInvalid(
                "a claim is letters, digits and _ . : / -, such as repository or kubernetes.io.namespace", field=field
            )
        if not 1 <= len(values) <= MOST_VALUES:
            raise RequestInvalid(f"a claim has 1 to {MOST_VALUES} values, one of which must fit", field=field)
        for value in values:
            _require_value(value, field)
    return {claim: tuple(values) for claim, values in conditions.items()}


def unmet(conditions: ClaimConditions, claims: Mapping[str, Any]) -> list[str]:
    """Why conditions do not hold for claims; nothing if they all do."""
    reasons = []
    for claim, wanted in conditions.items():
        held = find_claim(claims, claim)
        if not any(_fits(value, has) for value in wanted for has in held):
            shown = ", ".join(held)[:LONGEST_VALUE] if held else "not there"
            reasons.append(f"{claim} must be {_render_values(wanted)}, and is {shown}")
    return reasons


def find_claim(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """The values of a claim as texts: `kubernetes.io.namespace` looks inside, a list has several, `true` is a text."""
    if claim in claims:
        value = claims[claim]
        return tuple(_text(each) for each in (value if isinstance(value, list) else [value]) if _is_plain(each))
    for name, inner in claims.items():
        if isinstance(inner, Mapping) and claim.startswith(f"{name}."):
            return find_claim(inner, claim[len(name) + 1 :])
    return ()


def _require_value(value: str, field: str) -> None:
    if not is_pattern(value):
        if not VALUE.fullmatch(value) or len(value) > LONGEST_VALUE:
            raise RequestInvalid(f"a value is 1 to {LONGEST_VALUE} characters, none of them a control", field=field)
        return
    require_pattern(value, VALUE, field)
    if value.replace("**", "*").count("*") > MOST_STARS:
        raise RequestInvalid(f"a pattern of claims has at most {MOST_STARS} stars", field=field, got=value)


def _fits(wanted: str, held: str) -> bool:
    if not is_pattern(wanted):
        return wanted == held
    return len(held) <= LONGEST_VALUE and matches(wanted, held)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _render_values(values: Sequence[str]) -> str:
    shown = [f"{'=~' if is_pattern(value) else '=='} {value}" for value in values]
    return shown[0] if len(shown) == 1 else f"({' or '.join(shown)})"
