"""`entrepot user email`: the address of a user."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json
from entrepot.cli.secrets import FromStdin, mail_code, own_password
from entrepot.cli.target import Anywhere, Where, find_server, open_api
from entrepot.client.api import call, path_of
from entrepot.client.http import Server

app = cyclopts.App(name="email", help="Say which address a user has, proved by a code.")
THERE = Where()
HERE = Anywhere()


@app.command(name="set")
def set_(
    name: str,
    address: str,
    /,
    *,
    verified: Annotated[bool, Parameter(help="Vouch for it, as an administrator.", negative="")] = False,
    password_stdin: FromStdin = False,
    where: Anywhere = HERE,
) -> None:
    """Send a code to an address, which is the user's once that is confirmed; asks for your own password."""
    with open_api(where) as api:
        document: dict[str, object] = {"email": address, "verified": verified}
        if isinstance(api, Server) and api.login is not None and api.login.username == name:
            document["password"] = own_password(api.login.password, is_stdin=password_stdin)
        answer = call(api, "PUT", path_of("users", name, "email"), document)
    if where.json:
        print_json(answer)
    else:
        print(clean(answer["message"]))


@app.command
def confirm(name: str, /, *, code_stdin: FromStdin = False, where: Where = THERE) -> None:
    """Confirm your address with the code that was sent to it."""
    document = {"code": mail_code(is_stdin=code_stdin)}
    answer = call(find_server(where), "POST", path_of("users", name, "email", "confirm"), document)
    if where.json:
        print_json(answer)
    else:
        print(f"{clean(answer['email'])} is the address of {clean(name)}")


@app.command
def show(name: str, /, *, where: Anywhere = HERE) -> None:
    """Show the address of a user."""
    with open_api(where) as api:
        answer = call(api, "GET", path_of("users", name, "email"))
    if where.json:
        print_json(answer)
    else:
        print(clean(answer["email"]))


@app.command
def remove(name: str, /, *, where: Anywhere = HERE) -> None:
    """Forget the address of a user."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("users", name, "email"))
    if where.json:
        print_json({"name": name})
    else:
        print(f"the address of {clean(name)} is forgotten")
