"""Limits on pulls at the door: who bears one, and what is told of their plan in the place of other limits."""

from __future__ import annotations

from entrepot.core.pulls import count_pull, find_payer, find_standing
from entrepot.domain.errors import TooMany
from entrepot.wire.context import Context
from entrepot.wire.messages import Request
from entrepot.wire.rates import STANDING


async def limit_pull(context: Context, request: Request, *, is_pull: bool) -> None:
    """Count a manifest that is about to be answered, if it is a pull; told is where whoever bears it stands.

    Raises TooMany.
    """
    payer = find_payer(context.registry, request.caller, context.addresses.client(request))
    if payer is None:
        return
    try:
        judge = count_pull if is_pull else find_standing
        request.scope[STANDING] = await judge(context.registry, payer)
    except TooMany as error:
        request.scope[STANDING] = error.standing
        raise
