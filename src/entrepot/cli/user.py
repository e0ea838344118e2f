"""`entrepot user`: people and machines that may log in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.secrets import FromStdin, Generate, known_password, new_password
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.credentials import CredentialsFile, Login
from entrepot.client.http import Server
from entrepot.domain.secrets import is_secret

app = cyclopts.App(name="user", help="Make, list, change, disable and remove users, and set passwords.")
HERE = Anywhere()
for path, name, text in (
    ("totp:app", "totp", "Ask for a one-time code of an authenticator beside the password."),
    ("email:app", "email", "Say which address a user has, proved by a code."),
    ("people:reset_password", "reset-password", "Ask for a code by mail, and choose another password by it."),
    ("people:reset_code", "reset-code", "Make a code for another password, to be handed over without mail."),
    ("standing:show", "show", "Show one user."),
    ("standing:set_", "set", "Let a user administer the whole registry, or not any more."),
    ("standing:disable", "disable", "Let nothing that a user has open anything, until they are enabled."),
    ("standing:enable", "enable", "Let what a user has open again what it opened before."),
):
    app.command(f"entrepot.cli.{path}", name=name, help=text)


@app.command
def add(
    name: str,
    /,
    *,
    admin: Annotated[bool, Parameter(help="May administer the whole registry.", negative="")] = False,
    generate: Generate = False,
    password_stdin: FromStdin = False,
    where: Anywhere = HERE,
) -> None:
    """Make a user; asks for the password."""
    with open_api(where) as api:
        password = new_password(is_stdin=password_stdin, is_generated=generate)
        new = {"name": name, "password": password, "administrator": admin}
        made = call(api, "POST", path_of("users"), new)
    if where.json:
        print_json({**made, "password": password} if generate else made)
        return
    print(f"user {clean(name)} made")
    if generate:
        print(f"password: {password}")


@Parameter(name="*")
@dataclass(frozen=True)
class Whom:
    """Which users are listed."""

    admin: Annotated[bool | None, Parameter(help="Only administrators, or only all others.")] = None
    disabled: Annotated[
        bool | None, Parameter(help="Only who is disabled, or only who is not.", negative="--enabled")
    ] = None
    source: Annotated[Literal["local", "ldap", "oidc"] | None, Parameter(help="Only who comes from there.")] = None
    prefix: Annotated[str, Parameter(help="Only whose names begin like this.")] = ""

    @property
    def query(self) -> str:
        """The same as the API takes it."""
        flags = {"administrator": self.admin, "disabled": self.disabled}
        pairs = {name: str(value).lower() for name, value in flags.items() if value is not None}
        words = {"source": self.source, "prefix": self.prefix}
        query = urlencode(pairs | {name: value for name, value in words.items() if value})
        return f"?{query}" if query else ""


EVERYBODY = Whom()


@app.command(name="list")
def list_(*, whom: Whom = EVERYBODY, where: Anywhere = HERE) -> None:
    """List users: where they come from, and who is disabled or locked out."""
    with open_api(where) as api:
        users = collect(api, path_of("users") + whom.query, "users")
    if where.json:
        print_json(users)
    else:
        print_rows(users, ["name", "administrator", "disabled", "source", "locked_until", "created_at"])


@app.command
def passwd(
    name: str, /, *, generate: Generate = False, password_stdin: FromStdin = False, where: Anywhere = HERE
) -> None:
    """Give a user another password, your own or, as an administrator, anybody's; tokens made before are void."""
    with open_api(where) as api:
        login = api.login if isinstance(api, Server) else None
        is_own = login is not None and login.username == name
        current = login.password if login is not None and is_own else None
        if is_own and (not current or is_secret(current)):
            current = known_password(is_stdin=password_stdin, prompt="Present password: ")
        password = new_password(is_stdin=password_stdin, is_generated=generate)
        change = {"password": password, "current": current} if is_own else {"password": password}
        call(api, "PUT", path_of("users", name, "password"), change)
        if isinstance(api, Server) and is_own:
            _remember(api, password)
    if where.json:
        print_json({"name": name, "password": password} if generate else {"name": name})
        return
    print(f"the password of {clean(name)} is changed")
    if generate:
        print(f"password: {password}")


@app.command
def remove(name: str, /, *, where: Anywhere = HERE) -> None:
    """Remove a user with their roles; namespaces they owned are left without an owner."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("users", name))
    if where.json:
        print_json({"name": name})
    else:
        print(f"user {clean(name)} removed")


@app.command
def link(name: str, provider: str, subject: str, /, *, where: Anywhere = HERE) -> None:
    """Let somebody whom a provider calls SUBJECT sign on as a user who is here."""
    with open_api(where) as api:
        made = call(api, "PUT", path_of("sign-on-providers", provider, "links", name), {"subject": subject})
    if where.json:
        print_json(made)
    else:
        print(f"{clean(subject)} of {clean(provider)} signs on as {clean(name)}")


@app.command
def unlink(name: str, provider: str, /, *, where: Anywhere = HERE) -> None:
    """Let nobody at a provider sign on as a user; sessions and teams that came of it end."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("sign-on-providers", provider, "links", name))
    if where.json:
        print_json({"name": name, "provider": provider})
    else:
        print(f"nobody of {clean(provider)} signs on as {clean(name)} any more")


@app.command
def unlock(name: str, /, *, where: Anywhere = HERE) -> None:
    """Forget the wrong passwords that were sent for a user, who is then heard again at once."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("users", name, "lock"))
    if where.json:
        print_json({"name": name})
    else:
        print(f"user {clean(name)} unlocked")


def _remember(server: Server, password: str) -> None:
    # Else the next command would log in with a password that is void.
    file = CredentialsFile(os.environ)
    kept = file.load().servers.get(server.address)
    is_ours = kept is not None and server.login is not None and kept.username == server.login.username
    if kept is not None and is_ours and not is_secret(kept.password):
        file.put(server.address, Login(kept.username, password, kept.ca))
