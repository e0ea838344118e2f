"""What hostile text does to every endpoint, over every engine: nothing but a clear refusal."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from entrepot.api.routes import ENDPOINTS as MANAGEMENT
from entrepot.app import build
from entrepot.formats.oci.routes import ENDPOINTS as DISTRIBUTION
from entrepot.settings import load
from tests.contract.engines import Urls, open_database
from tests.support.asgi import Client, Lifespan
from tests.support.images import image
from tests.support.server import ADMIN_PASSWORD
from tests.support.world import basic, push_blob, put_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# As they stand in a path or query: NUL, half a pair, no UTF-8, another line, other digits, and much of something.
TEXTS: Final = (
    "a%00b",
    "%ED%A0%80",
    "a%FFb",
    "%0D%0Ax:y",
    "%C2%B2",
    "%D9%A1",
    "%F0%9F%98%80",
    "..",
    "**",
    "-1",
    "9" * 25,
    "9" * 3000,
    "a" * 3000,
)
# As they stand in JSON; what does not compress is too long for an index of PostgreSQL.
VALUES: Final = (
    r'"a\u0000b"',
    r'"\ud800"',
    r'"a\r\nb"',
    f'"{os.urandom(4000).hex()}"',
    "9" * 30,
    "9" * 5000,
    "1e400",
    "-1",
    "null",
    "[]",
    r'["\u0000", "\ud800"]',
    r'{"\u0000": ["\ud800"]}',
    "[" * 3000 + "]" * 3000,
)
KNOWN: Final = {"repository": "acme%2Fapp", "name": "acme/app", "digest": "sha256:" + "0" * 64}
PARAMETER: Final = re.compile(r"{(\w+)}")
NEVER: Final = ("not stored", "not written", "not refreshed", "Traceback")


def targets(path: str) -> Iterator[str]:
    """The path with each of its parameters, one at a time, as no client writes it; and such a query."""
    for hostile, text in itertools.product(PARAMETER.findall(path), TEXTS):
        yield PARAMETER.sub(lambda match: text if match[1] == hostile else KNOWN.get(match[1], "x1"), path)  # noqa: B023
    plain = PARAMETER.sub(lambda match: KNOWN.get(match[1], "x1"), path)
    for name, text in itertools.product(("n", "last", "tag", "user"), TEXTS):
        yield f"{plain}?{name}={text}"


def sample(schemas: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A document of this schema that makes sense at first sight."""
    while "type" not in schema and "enum" not in schema and schema:
        several = schema.get("allOf") or schema.get("anyOf") or schema.get("oneOf")
        schema = several[0] if several else schemas[schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type", "string")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "object":
        return {name: sample(schemas, each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schemas, schema.get("items", {}))]
    number, text = max(1, schema.get("minimum", 1)), schema.get("enum", ["acme"])[0]
    text = "2027-01-01T00:00:00Z" if schema.get("format") == "date-time" else text
    return {"integer": number, "number": number, "boolean": False}.get(kind, text)


def bodies(schemas: dict[str, Any], operation: dict[str, Any]) -> Iterator[bytes]:
    """Documents of an operation with one member, one at a time, as no client writes it."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        whole = sample(schemas, content["schema"])
        for name, value in itertools.product(whole if isinstance(whole, dict) else (), VALUES):
            rest = [f"{json.dumps(key)}: {json.dumps(each)}" for key, each in whole.items() if key != name]
            yield f"{{{', '.join([*rest, f'{json.dumps(name)}: {value}'])}}}".encode()


def ask_everything(client: Client, admin: Client) -> Iterator[tuple[str, int]]:
    """Every endpoint with all of that; who answered with an error of ours."""
    paths = [(each.method, f"/api/v1{each.path}") for each in MANAGEMENT]
    paths += [(each.method, each.path) for each in DISTRIBUTION] + [("GET", "/token"), ("GET", "/users/{name}")]
    for method, path in paths:
        for target, who in itertools.product(targets(path), (client, admin)):
            yield f"{method} {target[:200]}", who.request(method, target).status
    found = client.request("GET", "/api/v1/openapi.json").json
    for path, item in found["paths"].items():
        for method, operation in item.items():
            target = PARAMETER.sub(lambda match: KNOWN.get(match[1], "x1"), path)
            for body in bodies(found["components"]["schemas"], operation):
                answer = admin.request(method.upper(), target, body, content_type="application/json")
                yield f"{method} {target} {body[:300]!r}", answer.status
    for value in VALUES:
        manifest = image(annotations={"a": "b"}).raw.replace(b'"b"', value.encode())
        for reference in ("x", "sha256:" + "0" * 64):
            answer = admin.request("PUT", f"/v2/acme/app/manifests/{reference}", manifest)
            yield f"PUT manifest {value[:100]}", answer.status


def test_nothing_is_answered_with_an_error_of_ours(
    urls: Urls, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor logged as one, and what is written in the background still is, so that the audit log has all of it."""
    url = urls.empty()
    environment = {
        "DATABASE__URL": url,
        "STORAGE__URL": "memory://",
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "LOG__ACCESS": "false",
    }
    application = build(load(None, tmp_path, None, {f"ENTREPOT_{key}": value for key, value in environment.items()}))
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        runner.run(lifespan.start())
        client = Client(application, runner)
        admin = client.with_headers(authorization=basic("admin", ADMIN_PASSWORD))
        for content in image().blobs:
            push_blob(admin, "acme/app", content)
        assert put_manifest(admin, "acme/app", image(), "v1").status == 201
        assert [(what, status) for what, status in ask_everything(client, admin) if status in {500, 501, 502}] == []
        last = admin.request("POST", "/api/v1/namespaces", b'{"name": "last"}', content_type="application/json")
        assert last.status == 201
        runner.run(lifespan.stop())

        async def recorded() -> set[tuple[str, str]]:
            database = await open_database(url)
            found = await database.read(lambda tx: tx.all("select category, subject from audit where chain <> ''"))
            await database.close()
            return {(row[0], row[1]) for row in found}

        found = runner.run(recorded())
        assert ("change", "last") in found
        denied = [subject for category, subject in found if category == "denial"]
        assert (len(denied) > 5, max(map(len, denied)) <= 512) == (True, True)
    told = "".join(capfd.readouterr())
    assert [word for word in NEVER if word in told] == []
