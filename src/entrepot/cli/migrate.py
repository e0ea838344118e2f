"""`entrepot migrate`: bring the database up to date, or show what it lacks."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Annotated

from cyclopts import Parameter

from entrepot.app import MigrationPlan, apply_migrations, plan_migrations
from entrepot.cli.common import Config, Data, load_settings
from entrepot.settings import Settings
from entrepot.settings_sense import SettingsError


def migrate(
    *,
    config: Config = None,
    data: Data = None,
    plan: Annotated[bool, Parameter(help="Show what would be done, and change nothing.", negative="")] = False,
) -> None:
    """Bring the database up to date, as every start does by itself, or show what it lacks."""
    settings = load_settings(config, data)
    _require_database(settings)
    asyncio.run(_migrate(settings, is_plan=plan))


async def _migrate(settings: Settings, *, is_plan: bool) -> None:
    found = await plan_migrations(settings)
    _print(found)
    if found.pending and not is_plan:
        await apply_migrations(settings)
        print("done: the database is up to date")


def _print(found: MigrationPlan) -> None:
    if not found.pending:
        print(f"nothing to do: the database has all {found.applied} migrations")
        return
    print(f"the database has {found.applied} migrations and lacks {len(found.pending)}:")
    for step in found.pending:
        kind = f"nothing older than {step.contract} may run beside it" if step.contract else "adds only"
        print(f"  {step.number:04} {step.name:<20} {kind}")


def _require_database(settings: Settings) -> None:
    # A mistyped folder would become a new, empty registry.
    scheme, _, path = settings.database_url.partition("://")
    if scheme == "sqlite" and not pathlib.Path(path).exists():
        raise SettingsError(f"there is no database at {path} to migrate: look at --data or --config")
