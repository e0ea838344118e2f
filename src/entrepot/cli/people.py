"""`entrepot register`, and passwords that were forgotten: for whoever cannot log in."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from entrepot.cli.output import clean, print_json
from entrepot.cli.secrets import mail_code, new_password
from entrepot.cli.target import Anywhere, Where, find_server, open_api
from entrepot.client.api import call, path_of
from entrepot.client.credentials import Login
from entrepot.client.errors import ClientError
from entrepot.client.http import Server

THERE = Where()
HERE = Anywhere()
USERNAME = "ENTREPOT_USERNAME"

Confirm = Annotated[bool, Parameter(help="Go on with the code of the mail.", negative="")]
Lines = Annotated[bool, Parameter(help="Read code and password from the lines of standard input.", negative="")]


def register(
    address: str | None = None,
    /,
    *,
    confirm: Confirm = False,
    name: Annotated[str | None, Parameter(help="The name of the account, with --confirm.")] = None,
    code_stdin: Lines = False,
    where: Where = THERE,
) -> None:
    """Ask for an account for an e-mail address; then, with --confirm, make it with the code of the mail."""
    api = _nobody(where)
    if confirm:
        document = {
            "name": name or os.environ.get(USERNAME) or input("Name of the account: "),
            "code": mail_code(is_stdin=code_stdin),
            "password": new_password(is_stdin=code_stdin, is_generated=False),
        }
        made = call(api, "POST", path_of("registrations", "confirm"), document)
        _say(made, f"user {clean(made['name'])} made; log in: entrepot login {api.address}", is_json=where.json)
        return
    if address is None:
        raise ClientError("give an e-mail address, or --confirm with the code that was sent to it")
    answer = call(api, "POST", path_of("registrations"), {"email": address})
    _say(answer, f"{clean(answer['message'])}; then: entrepot register --confirm", is_json=where.json)


def reset_password(
    user: Annotated[str | None, Parameter(help="A user name or an e-mail address.")] = None,
    /,
    *,
    confirm: Confirm = False,
    code_stdin: Lines = False,
    where: Where = THERE,
) -> None:
    """Ask for a mail with a code; then, with --confirm, choose another password by it."""
    api = _nobody(where)
    if confirm:
        code, password = mail_code(is_stdin=code_stdin), new_password(is_stdin=code_stdin, is_generated=False)
        call(api, "POST", path_of("password-resets", "confirm"), {"code": code, "password": password})
        _say({}, f"the password is changed; log in: entrepot login {api.address}", is_json=where.json)
        return
    if user is None:
        raise ClientError("give a user name or an e-mail address, or --confirm with the code of the mail")
    answer = call(api, "POST", path_of("password-resets"), {"user": user})
    _say(answer, clean(answer["message"]), is_json=where.json)


def reset_code(name: str, /, *, where: Anywhere = HERE) -> None:
    """Make a code for another password of a user, to be handed over; it holds for a day."""
    with open_api(where) as api:
        made = call(api, "POST", path_of("users", name, "reset-code"))
    _say(
        made,
        f"{made['code']}\nit holds until {made['expires_at']}, for: entrepot user reset-password --confirm",
        is_json=where.json,
    )


def _nobody(where: Where) -> Server:
    # A login that is kept may be the very one that does not work any more.
    server = find_server(where)
    return Server(server.address, Login(ca=server.login.ca if server.login else ""))


def _say(document: object, text: str, *, is_json: bool) -> None:
    if is_json:
        print_json(document)
    else:
        print(text)
