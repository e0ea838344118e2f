"""Another password for whoever forgot theirs: asked for, and chosen by a code."""

from __future__ import annotations

from entrepot.core.accounts import LOCAL, get_user_row, is_self, require_admin, require_good_password, require_local
from entrepot.core.changes import note
from entrepot.core.letters import put_reset_code
from entrepot.core.mailing import SEND_WITHIN, Order, check_code, count_stranger, order_mail, require_mail, use_code
from entrepot.core.registry import Registry
from entrepot.domain.access import Caller
from entrepot.domain.audit import CODE, By
from entrepot.domain.errors import Denied, RequestInvalid
from entrepot.domain.events import Event
from entrepot.domain.mail import LONGEST_ADDRESS, make_mail_code, parse_address, wrong_code
from entrepot.metadata import accounts, emails, events, policy
from entrepot.ports.database import Tx


async def request_reset(registry: Registry, caller: Caller, who: str) -> None:
    """Send a user, by name or address, a code for another password; nobody learns whether there is one.

    Raises RequestInvalid for what is neither, TooMany, and Conflict where no mail is sent at all.
    """
    require_mail(registry)
    to = parse_address(who, "user") if "@" in who else _require_name(who)
    now, key = registry.clock.now(), registry.policy.token_key

    async def record(tx: Tx) -> None:
        # One address has its letters, whether it is asked for by itself, which is nobody's name, or by its user's name.
        owner = await emails.find_email_of(tx, to)
        if await count_stranger(tx, key, caller.origin.address, owner.address if owner else to, now):
            await order_mail(tx, key, Order("reset", to, now + SEND_WITHIN), now)

    await registry.database.transact(record)


async def confirm_reset(registry: Registry, caller: Caller, code: str, password: str) -> None:
    """Choose another password by a code. Every token made before is void; one-time codes stay.

    Raises CodeInvalid, RequestInvalid, and TooMany where too many passwords are being checked.
    """
    require_good_password(password, "password")
    row = await check_code(registry, ("reset",), code)
    encoded, now = await registry.hasher.hash(password), registry.clock.now()

    async def record(tx: Tx) -> None:
        await use_code(tx, row)
        account = await accounts.find_account_by_id(tx, row.account or 0)
        if account is None or account.is_disabled or account.source != LOCAL:
            raise wrong_code()
        await accounts.set_password(tx, account.id, encoded, registry.clock.now())
        await policy.bump_policy_version(tx)
        detail: dict[str, object] = {"by": "reset code", "made_by": row.created_by}
        by = By(account.id, caller.origin.address, CODE)
        await events.add_event(tx, Event("user.password", account.name, account.name, detail), now, by)

    await registry.database.transact(record)
    await registry.policy.refresh()


async def make_reset_code(registry: Registry, caller: Caller, name: str) -> tuple[str, int]:
    """A code for another password, to be handed over without mail, and until when it holds (microseconds).

    Raises AccountUnknown, Denied, InsufficientScope, and Conflict for users whose password is elsewhere.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    if is_self(caller, name):
        # A token that was left lying about would become the password.
        raise Denied("to change your own password, give the present one; a code is for somebody else", user=name)
    code = make_mail_code()

    async def record(tx: Tx) -> int:
        account = await get_user_row(tx, name)
        require_local(account, "password")
        until = await put_reset_code(tx, account.id, ("", act.actor), code, act.now)
        await note(tx, act, Event("user.reset-code", act.actor, name))
        return until

    return code.text, await registry.database.transact(record)


def _require_name(text: str) -> str:
    if not text or len(text) > LONGEST_ADDRESS or not text.isprintable():
        raise RequestInvalid("give the name of a user, or an e-mail address", field="user")
    return text
