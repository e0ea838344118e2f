"""The OpenAPI document: it is right, complete, and the server keeps to it."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from entrepot.api.errors import TABLE
from entrepot.api.openapi import REASONS, operation_id
from entrepot.api.routes import ENDPOINTS
from tests.api.door import Door
from tests.support.server import ADMIN_PASSWORD, Server

validator = pytest.importorskip(
    "openapi_spec_validator", reason="openapi-spec-validator is missing: pip install openapi-spec-validator"
)


def document(door: Door) -> dict[str, Any]:
    """The document as the server gives it to anybody."""
    answer = door.client().request("GET", "/api/v1/openapi.json")
    assert (answer.status, answer["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def operations(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation by method and path."""
    return {(method.upper(), path): each for path, item in found["paths"].items() for method, each in item.items()}


def test_the_document_is_valid(shared: Door) -> None:
    """It is OpenAPI 3.1 as its own schema has it, without a reference that leads nowhere."""
    found = document(shared)
    assert found["openapi"] == "3.1.0"
    validator.validate(found)


def test_the_document_has_every_endpoint(shared: Door) -> None:
    """Its operations are those of the route table, each with an id of its own and a sentence."""
    found = operations(document(shared))
    assert set(found) == {(endpoint.method, f"/api/v1{endpoint.path}") for endpoint in ENDPOINTS}
    assert len({each["operationId"] for each in found.values()}) == len(ENDPOINTS)
    assert [each["summary"] for each in found.values() if not each["summary"].endswith(".")] == []


def test_every_failure_is_described(shared: Door) -> None:
    """Each operation names its statuses, all in the one form of errors."""
    found = document(shared)
    each = operations(found)
    for endpoint in ENDPOINTS:
        statuses = set(each[endpoint.method, f"/api/v1{endpoint.path}"]["responses"])
        assert {str(endpoint.status), "400", "401", "429", "503", *map(str, endpoint.failures)} <= statuses
    for status in REASONS:
        content = found["components"]["responses"][str(status)]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problems"}


def named(part: Any) -> set[str]:
    """The schemas that a part of the document refers to."""
    return set(re.findall(r"#/components/schemas/(\w+)", json.dumps(part)))


def test_bodies_are_closed_and_answers_open(shared: Door) -> None:
    """What is sent has no further fields; what is answered may have more one day."""
    found = document(shared)
    schemas = found["components"]["schemas"]
    sent: set[str] = set()
    left = {name for each in operations(found).values() for name in named(each.get("requestBody", {}))}
    while left:
        sent |= left
        left = {inner for name in left for inner in named(schemas[name])} - sent
    assert {name for name, schema in schemas.items() if schema.get("additionalProperties") is False} == sent


def test_ids_are_stable() -> None:
    """The ids that generated clients are built on: changing one is a break that this test shows."""
    assert sorted(map(operation_id, ENDPOINTS)) == [
        "access_check",
        "access_get_refusal",
        "access_list_able",
        "collection_plan",
        "collection_run",
        "grants_create",
        "grants_get",
        "grants_list_page",
        "grants_remove",
        "invitations_accept",
        "invitations_decline",
        "invitations_list_own",
        "invitations_list_page",
        "invitations_put",
        "invitations_withdraw",
        "issuers_change",
        "issuers_create",
        "issuers_get",
        "issuers_get_rule",
        "issuers_list_page",
        "issuers_list_rules",
        "issuers_put_rule",
        "issuers_remove",
        "issuers_remove_rule",
        "issuers_try_token",
        "jobs_count",
        "jobs_list_dead",
        "members_list_of_namespace",
        "members_list_of_repository",
        "members_put_in_namespace",
        "members_put_in_repository",
        "members_remove_from_namespace",
        "members_remove_from_repository",
        "namespaces_change",
        "namespaces_create",
        "namespaces_get",
        "namespaces_list_page",
        "organisations_change",
        "organisations_create",
        "organisations_get",
        "organisations_list_members",
        "organisations_list_page",
        "organisations_put_member",
        "organisations_remove",
        "organisations_remove_member",
        "policy_get",
        "policy_plan",
        "policy_put",
        "repositories_change",
        "repositories_get",
        "repositories_list_page",
        "roles_change",
        "roles_create",
        "roles_get",
        "roles_list_page",
        "roles_remove",
        "secrets_create_login_password",
        "secrets_create_of_service",
        "secrets_create_of_user",
        "secrets_get_of_service",
        "secrets_get_of_user",
        "secrets_list_of_service",
        "secrets_list_of_user",
        "secrets_revoke_of_service",
        "secrets_revoke_of_user",
        "service_accounts_change",
        "service_accounts_create",
        "service_accounts_get",
        "service_accounts_list_page",
        "service_accounts_remove",
        "signing_keys_list_all",
        "signing_keys_rotate",
        "tags_get",
        "tags_list_history",
        "tags_list_page",
        "tags_put",
        "tags_remove",
        "tags_roll_back",
        "team_groups_add",
        "team_groups_list_page",
        "team_groups_remove",
        "teams_change",
        "teams_create",
        "teams_get",
        "teams_list_members",
        "teams_list_page",
        "teams_put_member",
        "teams_remove",
        "teams_remove_member",
        "users_change_password",
        "users_create",
        "users_get",
        "users_list_page",
        "users_remove",
        "whoami_get",
    ]


def test_the_document_names_no_host(shared: Door) -> None:
    """Nothing in it is fetched from elsewhere."""
    assert "://" not in json.dumps(document(shared))


# Their bodies have rules between fields, and texts with a grammar, that a schema cannot say.
RULED = (
    "POST /api/v1/grants",
    "POST /api/v1/access/check",
    "PUT /api/v1/policy",
    "POST /api/v1/policy/plan",
    # To a schema, 30.0 is an integer.
    "POST /api/v1/login-password",
    "POST /api/v1/users/{user}/tokens",
    "POST /api/v1/service-accounts/{account}/secrets",
)


@pytest.mark.timeout(600)
def test_a_running_server_keeps_to_the_document(tmp_path: pathlib.Path) -> None:
    """Generated requests, legal and illegal, are answered as the document says, with nothing undocumented."""
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    if not program.exists():
        pytest.skip("schemathesis is missing: pip install schemathesis")
    rows = [
        f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n' for name in RULED
    ]
    (tmp_path / "schemathesis.toml").write_text("\n".join(rows))
    with Server(tmp_path / "data") as server:
        words = ["run", f"{server.url}/api/v1/openapi.json", "--auth", f"admin:{ADMIN_PASSWORD}"]
        limits = ["--max-examples", "3", "--seed", "1", "--generation-database", "none", "--warnings", "off"]
        # A pattern and a length together make generators throw much away; that is no fault of the server's.
        limits += ["--suppress-health-check", "filter_too_much,too_slow", "--no-color"]
        done = subprocess.run([program, *words, *limits], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[:4000] + done.stdout[-4000:]
        assert "Traceback" not in server.output()


def test_the_page_names_every_endpoint() -> None:
    """docs/api.md has a row for each endpoint, and no row too many."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "api.md").read_text()
    rows = set(re.findall(r"^\| `([A-Z]+)` \| `([^`]+)` \|", page, re.MULTILINE))
    assert rows == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_the_page_names_every_code() -> None:
    """docs/api.md has each code of an error with its status."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "api.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"\| \d{3}", line)]
    missing = [
        entry
        for entry in TABLE.values()
        if entry.code != "UNKNOWN"
        and not any(str(entry.status) in line and f"`{entry.code}`" in line for line in lines)
    ]
    assert missing == []
