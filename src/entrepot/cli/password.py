"""`entrepot login-password`: a password for the next hours, for clients that keep it where anybody may read it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from entrepot.cli.output import print_json
from entrepot.cli.target import Where, find_server
from entrepot.client.api import call, path_of
from entrepot.client.errors import ClientError

THERE = Where()
HOUR = 3600
MOST_HOURS = 12


def login_password(
    *,
    hours: Annotated[int, Parameter(help="How long it is to hold, 12 hours at most.")] = MOST_HOURS,
    where: Where = THERE,
) -> None:
    """Print a password for the next hours: entrepot login-password | docker login -u USER --password-stdin HOST."""
    if not 1 <= hours <= MOST_HOURS:
        raise ClientError(f"--hours is 1 to {MOST_HOURS}")
    made = call(find_server(where), "POST", path_of("login-password"), {"seconds": hours * HOUR})
    if where.json:
        print_json(made)
    else:
        print(made["password"])
