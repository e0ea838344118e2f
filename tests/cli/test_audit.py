"""`entrepot audit`: on a server and on its files."""

from __future__ import annotations

import json
import pathlib
import stat

import apsw
import pytest

from entrepot.app import read_audit_key
from entrepot.cli import audit
from entrepot.settings import load
from tests.cli.caller import Caller
from tests.support.server import Server


def test_the_log_is_read_on_a_server(admin: Caller, server: Server) -> None:
    """Narrowed, as a table, as documents and as lines; one record whole."""
    admin.run("namespace", "create", "audited")
    (record,) = admin.ask("audit", "list", "--kind", "namespace.created", "--subject", "audited")
    assert (record["actor"], record["method"], record["allowed"]) == ("admin", "password", True)
    day = record["at"][:10]
    (again,) = admin.ask("audit", "list", "--namespace", "audited", "--day", day, "--actor", "admin")
    assert again["id"] == record["id"]
    assert admin.ask("audit", "list", "--namespace", "audited", "--until", day, "--denied") == []
    table = admin.run("audit", "list", "--kind", "namespace.created", "--limit", "1000")
    assert "audited" in table
    assert table.startswith("ID")
    # It has found its place in a chain since.
    shown = admin.run("audit", "show", str(record["id"]))
    assert '"visibility"' in shown
    assert admin.ask("audit", "show", str(record["id"]))["subject"] == "audited"
    lines = admin.run("audit", "export", "--namespace", "audited").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["namespace.created"]
    assert "2026-11-25" in admin.fail("audit", "list", "--day", "yesterday")
    assert "no such record" in admin.fail("audit", "show", "99999999")


def test_the_log_is_verified(admin: Caller, tmp_path: pathlib.Path) -> None:
    """On a server and on files; somebody who changes a row is found, with exit code 1."""
    with Server(tmp_path / "own", environment={"ENTREPOT_JOBS__IN_SERVE": "false"}) as own:
        admin.run("user", "add", "ivan", "--generate", "--data", str(own.data))
        told = admin.run("audit", "verify", "--data", str(own.data))
        assert "no findings" in told
        assert "no findings" in admin.having(ENTREPOT_DATA=str(own.data)).run("audit", "verify")
        (made,) = admin.ask("audit", "list", "--kind", "user.created", "--data", str(own.data))
        assert (made["method"], made["actor"].startswith("local:"), bool(made["chain"])) == ("local", True, True)
        assert "sealed yet" in admin.fail("audit", "root", "--data", str(own.data))
        assert "NUMBER:HASH" in admin.fail("audit", "verify", "--root", "x")
        connection = apsw.Connection(str(own.data / "entrepot.db"))
        connection.execute("update audit set actor = 'nobody' where action = 'user.created'")
        connection.close()
        done = admin.call("audit", "verify", "--data", str(own.data))
        assert (done.returncode, "it was changed" in done.stdout) == (1, True)
        report = json.loads(admin.call("audit", "verify", "--data", str(own.data), "--json").stdout)
        assert (report["found"], report["findings"][0]["chain"]) == (1, made["chain"])


def test_a_key_of_somebody_else_is_a_finding() -> None:
    """Where keys are named, roots by any other are findings; where none is named, none is."""
    for known, found in (([], 0), (["one", "two"], 0), (["one"], 1)):
        report = {"keys": ["one", "two"], "found": 0, "findings": []}
        audit._require_keys(report, known)
        assert (report["found"], len(report["findings"])) == (found, found)


def test_the_key_is_made_where_nobody_else_reads_it(tmp_path: pathlib.Path) -> None:
    """The first who needs it makes it; all others read the same one."""
    settings = load(None, tmp_path, None, {})
    key = read_audit_key(settings)
    assert key == read_audit_key(settings)
    assert stat.S_IMODE((tmp_path / "audit-key.pem").stat().st_mode) == 0o600
    own = load(None, tmp_path, None, {"ENTREPOT_AUDIT__KEY_FILE": str(tmp_path / "none")})
    with pytest.raises(OSError, match="none"):
        read_audit_key(own)
