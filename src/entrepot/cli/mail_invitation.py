"""Invitations by mail, below `entrepot organisation`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.secrets import FromStdin, mail_code
from entrepot.cli.target import Anywhere, Where, find_server, open_api
from entrepot.client.api import call, path_of

HERE = Anywhere()
THERE = Where()
Organisation = Annotated[str, Parameter(help='An organisation, or "" for none, as an administrator.')]


def invite_mail(organisation: Organisation, address: str, role: str = "member", /, *, where: Anywhere = HERE) -> None:
    """Invite an e-mail address, with an account or without; it holds for 14 days."""
    with open_api(where) as api:
        new = {"email": address, "organisation": organisation or None, "role": role}
        made = call(api, "POST", path_of("mail-invitations"), new)
    if where.json:
        print_json(made)
    else:
        print(
            f"{clean(address)} is invited; take it back with: entrepot organisation withdraw-mail {clean(made['id'])}"
        )


def mailed(organisation: Organisation = "", /, *, where: Anywhere = HERE) -> None:
    """List who was invited by mail and has not come."""
    with open_api(where) as api:
        path = f"{path_of('mail-invitations')}?organisation={quote(organisation, safe='')}"
        found = call(api, "GET", path)["invitations"]
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["id", "email", "role", "invited_by", "expires_at", "open"])


def withdraw_mail(invitation: str, /, *, where: Anywhere = HERE) -> None:
    """Take an invitation by mail back."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("mail-invitations", invitation))
    if where.json:
        print_json({"id": invitation})
    else:
        print(f"invitation {clean(invitation)} withdrawn")


def accept_mail(*, code_stdin: FromStdin = False, where: Where = THERE) -> None:
    """Join, with the account that you have, what the code of a mail invites into."""
    call(find_server(where), "POST", path_of("mail-acceptances"), {"code": mail_code(is_stdin=code_stdin)})
    if where.json:
        print_json({})
    else:
        print("accepted")
