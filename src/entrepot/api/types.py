"""Types that several resources share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from entrepot.core.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD
from entrepot.core.changes import LONGEST_DESCRIPTION
from entrepot.domain.access import Action
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.grants import GRANTABLE
from entrepot.domain.mail import ADDRESS, LONGEST_ADDRESS
from entrepot.domain.names import LONGEST_NAMESPACE, NAMESPACE, RESERVED
from entrepot.domain.secrets import SECRET

ACTIONS: Final = [*sorted(action.value for action in GRANTABLE), Action.ADMIN.value]
SECOND: Final = 1_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
GROUP: Final = "^[^\\s\\u0000-\\u001f\\u007f][^\\u0000-\\u001f\\u007f]*$"
DIGEST: Final = "^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$"


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with exactly the fields that are declared."""


class Answer(msgspec.Struct, frozen=True):
    """A JSON object that may have more fields one day."""


def _described(pattern: str, longest: int, text: str) -> msgspec.Meta:
    # Said in the schema, judged by the domain, whose messages tell what to do.
    return msgspec.Meta(description=text, extra_json_schema={"pattern": f"^(?:{pattern})$", "maxLength": longest})


Name = Annotated[
    str, _described(NAMESPACE.pattern, LONGEST_NAMESPACE, "The name of a user, organisation or namespace.")
]
Label = Annotated[str, _described(NAMESPACE.pattern, LONGEST_NAMESPACE, "The name of a team, a role or a plan.")]
Description = Annotated[
    str, _described("[^\\u0000-\\u001f\\u007f]*", LONGEST_DESCRIPTION, "What people should know of it, in one line.")
]
FreeName = Annotated[
    str,
    msgspec.Meta(
        description="A name that nobody has yet.",
        extra_json_schema={
            "pattern": f"^(?:{NAMESPACE.pattern})$",
            "maxLength": LONGEST_NAMESPACE,
            "not": {"enum": sorted(RESERVED)},
        },
    ),
]
DigestText = Annotated[str, msgspec.Meta(description="A digest.", extra_json_schema={"pattern": DIGEST})]
Password = Annotated[
    str,
    msgspec.Meta(
        description="A password.",
        extra_json_schema={
            "minLength": SHORTEST_PASSWORD,
            "maxLength": LONGEST_PASSWORD,
            "pattern": "^[^\\u0000-\\u001f\\u007f]*$",
            "not": {"pattern": f"^{SECRET.pattern}$"},
        },
    ),
]

Address = Annotated[
    str,
    msgspec.Meta(
        description="An e-mail address.",
        extra_json_schema={"pattern": f"^(?:{ADDRESS.pattern})$", "maxLength": LONGEST_ADDRESS},
    ),
]
MailCode = Annotated[
    str,
    msgspec.Meta(
        description="The code of a mail.",
        max_length=60,
        extra_json_schema={"pattern": "^[2-9a-hjkmnp-z]{10}-[2-9a-hjkmnp-z]{24}$"},
    ),
]


def time_of(microseconds: int) -> datetime:
    """A stored time as JSON shows it."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def parse_time(field: str, text: str) -> int:
    """A time of a query as it is stored, 0 for none. Raises RequestInvalid with the field."""
    if not text:
        return 0
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.min  # noqa: DTZ901 - refused below, as every time without a zone
    if time.tzinfo is None:
        raise RequestInvalid(f"{field} is a time with its zone, such as 2026-11-25T08:00:00Z", field=field)
    return max(0, int((time - EPOCH).total_seconds() * SECOND))
