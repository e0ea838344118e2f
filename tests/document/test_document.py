"""The server keeps to its OpenAPI document, whatever it is asked: `make conformance`, for it takes a minute."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from tests.support.server import ADMIN_PASSWORD, Server

# Their bodies have rules between fields, and texts with a grammar, that a schema cannot say.
RULED = (
    "POST /api/v1/grants",
    "POST /api/v1/access/check",
    "PUT /api/v1/policy",
    "POST /api/v1/policy/plan",
    "PATCH /api/v1/job-schedules/{kind}",
    "PUT /api/v1/plan-book",
    "POST /api/v1/plan-book/changes",
    # No generator finds a code that was mailed.
    "POST /api/v1/registrations/confirm",
    "POST /api/v1/password-resets/confirm",
    "POST /api/v1/mail-acceptances",
    "POST /api/v1/users/{user}/email/confirm",
    # To a schema, 30.0 is an integer.
    "POST /api/v1/login-password",
    "POST /api/v1/users/{user}/tokens",
    "POST /api/v1/service-accounts/{account}/secrets",
    "GET /api/v1/audit",
    "GET /api/v1/grants",
    "GET /api/v1/access/able",
)
# What does not fit the schema may be too long as well.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "414", "415", "422", "428", "429", "5xx"]


@pytest.mark.timeout(600)
def test_a_running_server_keeps_to_the_document(tmp_path: pathlib.Path) -> None:
    """Generated requests, legal and illegal, are answered as the document says, with nothing undocumented."""
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    if not program.exists():
        pytest.skip("schemathesis is missing: pip install schemathesis")
    rows = [
        f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n' for name in RULED
    ]
    rows.insert(0, f"[checks.negative_data_rejection]\nexpected-statuses = {REFUSALS}\n")
    (tmp_path / "schemathesis.toml").write_text("\n".join(rows))
    # It sends wrong passwords by the dozen, on purpose.
    with Server(tmp_path / "data", environment={"ENTREPOT_AUTH__LOCKOUT_FAILURES": "0"}) as server:
        words = ["run", f"{server.url}/api/v1/openapi.json", "--auth", f"admin:{ADMIN_PASSWORD}"]
        limits = ["--max-examples", "3", "--seed", "1", "--generation-database", "none", "--warnings", "off"]
        # A pattern and a length together make generators throw much away; that is no fault of the server's.
        limits += ["--suppress-health-check", "filter_too_much,too_slow", "--no-color"]
        done = subprocess.run([program, *words, *limits], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[:4000] + done.stdout[-4000:]
        assert "Traceback" not in server.output()
