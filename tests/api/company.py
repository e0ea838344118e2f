"""The organisation `acme` of the API's tests: alice owns it, carol and dora are in it, dora is in its team `devs`."""

from __future__ import annotations

from typing import Any

from tests.api.door import Door

ACME, DEVS = "/organisations/acme", "/organisations/acme/teams/devs"

# (method, path below an organisation, document): what members may ask.
READS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "/members", None),
    ("GET", "/teams", None),
    ("GET", "/teams/devs", None),
    ("GET", "/teams/devs/members", None),
]
# What only owners may.
RUNS: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"description": "taken over"}),
    ("DELETE", "?give_to=bob", None),
    ("PUT", "/members/bob", {"role": "owner"}),
    ("DELETE", "/members/alice", None),
    ("POST", "/teams", {"name": "ops"}),
    ("PATCH", "/teams/devs", {"description": "taken over"}),
    ("DELETE", "/teams/devs", None),
    ("PUT", "/teams/devs/members/bob", {"join": True}),
    ("DELETE", "/teams/devs/members/dora", None),
    ("GET", "/invitations", None),
    ("PUT", "/invitations/bob", {}),
    ("DELETE", "/invitations/bob", None),
]
# Whoever has an account.
OPEN: list[tuple[str, str]] = [("GET", "/organisations"), ("GET", "/invitations"), ("GET", "/roles")]
OPEN += [("GET", "/roles/reader"), ("POST", "/organisations")]
OPEN += [("POST", "/invitations/acme/accept"), ("DELETE", "/invitations/acme")]


def found(door: Door) -> None:
    """Make the organisation."""
    door.send("admin", "POST", "/organisations", {"name": "acme", "owner": "alice", "description": "Acme Ltd"})
    for user in ("carol", "dora"):
        door.send("alice", "PUT", f"{ACME}/members/{user}", {})
    door.send("alice", "POST", f"{ACME}/teams", {"name": "devs", "description": "Developers"})
    door.send("alice", "PUT", f"{DEVS}/members/dora", {})


def users(door: Door, path: str, user: str = "alice") -> list[str]:
    """The users in a listing of members."""
    return [member["user"] for member in door.send(user, "GET", path)["members"]]
