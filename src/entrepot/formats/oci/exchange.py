"""Tokens of others for tokens of ours (RFC 8693), as `POST /token` takes them."""

from __future__ import annotations

from typing import Final

from entrepot.core import federate
from entrepot.domain.errors import RequestInvalid
from entrepot.wire.context import Context
from entrepot.wire.messages import Request

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
AWS: Final = "urn:entrepot:grant-type:aws-caller-identity"
GRANTS: Final = frozenset({EXCHANGE, AWS})
ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"
TYPES: Final = frozenset({"urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt"})
UNSUPPORTED: Final = ("actor_token", "actor_token_type", "resource")


async def admit(context: Context, request: Request, fields: dict[str, str]) -> federate.Admitted:
    """Whoever the token, or the signed request, of somebody else lets in."""
    wish = federate.Wish(fields.get("rule", ""), fields.get("audience", ""), request.caller.origin)
    admitted = await _admit(context, fields, wish)
    request.scope["entrepot.caller"] = admitted.rule.account_name
    return admitted


async def _admit(context: Context, fields: dict[str, str], wish: federate.Wish) -> federate.Admitted:
    if fields["grant_type"] == AWS:
        return await federate.admit_aws(context.registry, _required(fields, "signed_request"), wish)
    unsupported = [name for name in UNSUPPORTED if name in fields]
    if unsupported or fields.get("requested_token_type", ACCESS) != ACCESS:
        raise RequestInvalid(
            "only access tokens for the holder of the subject token are given",
            field=(*unsupported, "requested_token_type")[0],
        )
    if _required(fields, "subject_token_type") not in TYPES:
        raise RequestInvalid(f"subject_token_type must be {' or '.join(sorted(TYPES))}", field="subject_token_type")
    return await federate.admit_token(context.registry, _required(fields, "subject_token"), wish)


def _required(fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise RequestInvalid(f"{name} is missing", field=name)
    return fields[name]
