"""The audit log on PostgreSQL: what cannot be recorded does not happen."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from entrepot.app import build
from entrepot.settings import load
from tests.contract.engines import PostgresqlUrls, open_database
from tests.support.asgi import Client, Lifespan
from tests.support.images import image
from tests.support.server import ADMIN_PASSWORD
from tests.support.world import basic, push_blob, put_manifest

REPOSITORY = "acme/app"
# A server that says no, a table that cannot be written because it is not where it was, and rows that are refused.
AWAY = (
    (
        "create function away() returns trigger language plpgsql as $$ begin raise exception 'away'; end $$",
        "create trigger away before insert on audit for each row execute function away()",
    ),
    ("alter table audit rename to audit_away",),
    ("alter table audit add constraint away check (actor = 'nobody') not valid",),
)
BACK = (
    ("drop trigger away on audit",),
    ("alter table audit_away rename to audit",),
    ("alter table audit drop constraint away",),
)


async def execute(url: str, statements: tuple[str, ...]) -> None:
    """What somebody does to the tables."""
    database = await open_database(url)
    for statement in statements:
        await database.transact(lambda tx, statement=statement: tx.execute(statement))
    await database.close()


@pytest.mark.parametrize(("away", "back"), list(zip(AWAY, BACK, strict=True)), ids=["trigger", "gone", "check"])
def test_a_change_that_cannot_be_recorded_does_not_happen(
    postgresql_urls: PostgresqlUrls, tmp_path: pathlib.Path, away: tuple[str, ...], back: tuple[str, ...]
) -> None:
    """While the log cannot be written, changes answer 503 and do nothing, and pulls go on; then all is as before."""
    url = postgresql_urls.empty()
    environment = {"ENTREPOT_DATABASE__URL": url, "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD}
    application = build(load(None, tmp_path, None, environment))
    one, two = image([b"one"]), image([b"two"])
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        runner.run(lifespan.start())
        client = Client(application, runner).with_headers(authorization=basic("admin", ADMIN_PASSWORD))
        for content in (*one.blobs, *two.blobs):
            push_blob(client, REPOSITORY, content)
        assert put_manifest(client, REPOSITORY, one, "v1").status == 201
        runner.run(execute(url, away))
        answer = put_manifest(client, REPOSITORY, two, "v1")
        assert (answer.status, "retry-after" in answer) == (503, True)
        assert client.request("DELETE", f"/v2/{REPOSITORY}/manifests/v1").status == 503
        assert client.request("GET", f"/v2/{REPOSITORY}/manifests/v1").body == one.raw
        assert client.request("GET", f"/v2/{REPOSITORY}/manifests/{two.digest}").status == 404
        runner.run(execute(url, back))
        assert put_manifest(client, REPOSITORY, two, "v1").status == 201
        assert client.request("GET", f"/v2/{REPOSITORY}/manifests/v1").body == two.raw
        runner.run(lifespan.stop())
