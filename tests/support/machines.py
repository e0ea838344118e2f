"""Service accounts and secrets of a world, made by the verbs."""

from __future__ import annotations

from entrepot.core import credentials, services
from entrepot.core.credentials import Holder, Made, NewSecret
from tests.support.asgi import Client
from tests.support.world import World, basic

ROBOT = "robot$priv+ci"
ROBOT_HOLDER = Holder(ROBOT, "service")


def add_robot(world: World, role: str = "writer") -> str:
    """The robot `ci` of `priv`, with a role there."""
    row = world.run(services.add_service(world.registry, world.caller("alice"), services.NewService("ci", "priv")))
    world.ids[ROBOT] = row.id
    if role:
        world.grant(ROBOT, "priv", role)
    return ROBOT


def add_secret(world: World, *scopes: str, name: str = "one", days: int | None = None) -> Made:
    """A secret of the robot."""
    new = NewSecret(name, scopes, days)
    return world.run(credentials.add_credential(world.registry, world.caller("alice"), ROBOT_HOLDER, new))


def add_token(world: World, user: str, *scopes: str, name: str = "one", days: int | None = None) -> Made:
    """A personal token of a user."""
    new = NewSecret(name, scopes, days)
    return world.run(credentials.add_credential(world.registry, world.caller(user), Holder(user, "user"), new))


def revoke(world: World, made: Made) -> None:
    """End a secret."""
    admin = world.caller("admin")
    world.run(credentials.revoke_credential(world.registry, admin, made.holder, made.row.id))


def by_basic(world: World, made: Made, name: str = "") -> Client:
    """A client with the secret as the password of its account, or of another name."""
    return world.client().with_headers(authorization=basic(name or made.holder.name, made.secret))


def by_bearer(world: World, made: Made) -> Client:
    """A client with the secret alone."""
    return world.client().with_headers(authorization=f"Bearer {made.secret}")
