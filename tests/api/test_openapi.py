"""The OpenAPI document: it is right, complete, and the server keeps to it."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest

from entrepot.api.errors import TABLE
from entrepot.api.openapi import REASONS, operation_id
from entrepot.api.routes import ENDPOINTS
from tests.api.door import Door

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


def test_a_parameter_that_is_not_described_is_refused(shared: Door) -> None:
    """By every GET, with the parameters that the document has for it: a filter that nobody reads would list all."""
    for (method, path), operation in operations(document(shared)).items():
        if method != "GET":
            continue
        described = sorted(each["name"] for each in operation.get("parameters", []) if each["in"] == "query")
        target = re.sub(r"{\w+}", "priv", path).removeprefix("/api/v1")
        answer = shared.ask("admin", "GET", f"{target}?subjekt=x")
        assert (answer.status, answer.code) == (400, "REQUEST_INVALID"), (path, answer)
        detail = answer.json["errors"][0]["detail"]
        assert (detail["field"], detail["known"]) == ("subjekt", described), path
    assert shared.ask("bob", "GET", "/users?subjekt=x").status == 403
    assert shared.ask("alice", "POST", "/policy/plan?subjekt=x", {"resources": ["priv"]}).status == 200


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
        "audit_get",
        "audit_get_root",
        "audit_list_page",
        "audit_verify",
        "collection_get_status",
        "collection_plan",
        "collection_run",
        "emails_confirm",
        "emails_get",
        "emails_put",
        "emails_remove",
        "grants_create",
        "grants_get",
        "grants_list_page",
        "grants_remove",
        "integrity_get",
        "integrity_list_damaged",
        "integrity_start",
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
        "job_schedules_change",
        "job_schedules_get",
        "job_schedules_list_all",
        "job_schedules_reset",
        "jobs_cancel",
        "jobs_count",
        "jobs_get",
        "jobs_list_page",
        "jobs_retry",
        "mail_invitations_accept",
        "mail_invitations_create",
        "mail_invitations_list_all",
        "mail_invitations_remove",
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
        "password_resets_confirm",
        "password_resets_create",
        "password_resets_make_code",
        "plan_book_compare",
        "plan_book_get",
        "plan_book_put",
        "plans_assign",
        "plans_get",
        "plans_get_of_owner",
        "plans_get_own",
        "plans_list_page",
        "plans_put",
        "plans_remove",
        "plans_unassign",
        "policy_get",
        "policy_plan",
        "policy_put",
        "registrations_confirm",
        "registrations_create",
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
        "sessions_end",
        "sessions_list_page",
        "sign_on_providers_change",
        "sign_on_providers_create",
        "sign_on_providers_get",
        "sign_on_providers_list_links",
        "sign_on_providers_list_page",
        "sign_on_providers_put_link",
        "sign_on_providers_remove",
        "sign_on_providers_remove_link",
        "signing_keys_list_all",
        "signing_keys_rotate",
        "tags_get",
        "tags_list_deleted",
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
        "totp_begin",
        "totp_confirm",
        "totp_disable",
        "totp_get",
        "totp_renew",
        "trash_list_page",
        "trash_restore",
        "users_change",
        "users_change_password",
        "users_create",
        "users_get",
        "users_list_page",
        "users_remove",
        "users_unlock",
        "whoami_get",
    ]


def test_the_document_names_no_host(shared: Door) -> None:
    """Nothing in it is fetched from elsewhere."""
    assert "://" not in json.dumps(document(shared))


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
