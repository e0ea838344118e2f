"""`entrepot issuer` and `entrepot ci-login`, from the token of a job to a push."""

from __future__ import annotations

import base64
import http.client
import json
import pathlib
import time
from collections.abc import Iterator

import pytest

from entrepot.client import exchange
from tests.cli.caller import Caller
from tests.support.issuer import EC, LocalIssuer, public_keys
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.sts import ROLE, LocalSts

PASSWORD = "robot-password"
SCOPES = ("--scope", "repository:acme/*:pull,push")


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may ask issuers on this machine."""
    environment = {"ENTREPOT_FEDERATION__PRIVATE_ADDRESSES": "true"}
    with Server(tmp_path_factory.mktemp("near") / "data", environment=environment) as server:
        boss = Caller(tmp_path_factory.mktemp("boss"))
        boss.run("login", server.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
        boss.run("user", "add", "robot", "--password-stdin", stdin=PASSWORD)
        boss.run("namespace", "create", "acme")
        boss.run("namespace", "grant", "acme", "robot", "writer")
        yield server


@pytest.fixture(scope="module")
def local() -> Iterator[LocalIssuer]:
    """An issuer on this machine."""
    with LocalIssuer() as local:
        yield local


@pytest.fixture
def boss(nobody: Caller, near: Server) -> Caller:
    """The administrator of that server."""
    nobody.run("login", near.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    return nobody


@pytest.fixture
def trusted(boss: Caller, near: Server, local: LocalIssuer) -> Iterator[Caller]:
    """The administrator of a server that believes the issuer."""
    boss.run("issuer", "add", "local", "--url", local.url, "--audience", near.host)
    condition = "repo == acme/app && ref == refs/heads/main"
    boss.run("issuer", "rule", "set", "local", "main", "--if", condition, "--as", "robot", *SCOPES)
    yield boss
    boss.run("issuer", "remove", "local")


def job(local: LocalIssuer, near: Server, **more: object) -> str:
    """The token of a job of this moment."""
    now = int(time.time())
    return local.token(**{"aud": near.host, "iat": now, "nbf": now, "exp": now + 3600, **more})


def starts_upload(near: Server, repository: str, header: str) -> int:
    """The status of a push's first request with an Authorization header."""
    connection = http.client.HTTPConnection(near.host, timeout=30)
    connection.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"authorization": header})
    status = connection.getresponse().status
    connection.close()
    return status


def test_issuers_are_kept(boss: Caller, near: Server, tmp_path: pathlib.Path) -> None:
    """Added, listed, changed and removed, by name."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(public_keys(EC)))
    words = ("--url", "https://kubernetes.default.svc", "--audience", "a", "--audience", "b", "--jwks", str(keys))
    assert boss.run("issuer", "add", "cluster", *words) == (
        "issuer cluster added: https://kubernetes.default.svc, enabled\n"
    )
    (row,) = [line for line in boss.run("issuer", "list").splitlines() if line.startswith("cluster")]
    assert row.split() == ["cluster", "oidc", "https://kubernetes.default.svc", "a,", "b", "no", "yes"]
    assert "disabled" in boss.run("issuer", "set", "cluster", "--disable")
    assert "enabled" in boss.run("issuer", "set", "cluster", "--enable")
    assert boss.ask("issuer", "set", "cluster", "--reusable", "--unpin")["pinned"] is False
    assert [each["name"] for each in boss.ask("issuer", "list")] == ["cluster"]
    assert boss.ask("issuer", "remove", "cluster") == {"name": "cluster"}


def test_rules_are_kept(trusted: Caller) -> None:
    """Written as text, listed in the order in which they are tried, switched off and on."""
    kept = trusted.run(
        "issuer",
        "rule",
        "set",
        "local",
        "all",
        "--if",
        "",
        "--as",
        "robot",
        "--scope",
        "repository:acme/x:pull",
        "--disabled",
    )
    assert kept == "rule all of local kept: any token -> robot, at most repository:acme/x:pull\n"
    lines = trusted.run("issuer", "rule", "list", "local").splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "all", "main"]
    assert "repository == acme/app && ref == refs/heads/main" in lines[2]
    for word, enabled in (("enable", True), ("disable", False)):
        assert f"is {word}d" in trusted.run("issuer", "rule", word, "local", "all")
        rules = {each["name"]: each["enabled"] for each in trusted.ask("issuer", "rule", "list", "local")}
        assert rules == {"all": enabled, "main": True}
    assert trusted.run("issuer", "rule", "remove", "local", "all") == "rule all of local removed\n"
    same = trusted.ask("issuer", "rule", "set", "local", "two", "--if", "ref =~ refs/**", "--as", "robot", *SCOPES)
    assert same["conditions"] == {"ref": ["refs/**"]}
    assert trusted.ask("issuer", "rule", "remove", "local", "two") == {"issuer": "local", "name": "two"}


def test_a_token_is_tried(trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path) -> None:
    """From a file or from standard input; it says which rule fits, and why the others do not."""
    file = tmp_path / "token"
    file.write_text(job(local, near) + "\n")
    assert trusted.run("issuer", "try", str(file)).splitlines() == [
        "issuer: local",
        "the token is genuine, of now, and for us",
        "rule main fits: acts as robot, at most repository:acme/*:pull,push",
        "lets it in: main",
    ]
    output = trusted.run("issuer", "try", "-", stdin=job(local, near, ref="refs/heads/x", exp=1))
    assert "refused: the token has expired" in output
    assert "  ref must be == refs/heads/main, and is refs/heads/x\n" in output
    assert output.endswith("lets it in: no rule\n")
    assert trusted.ask("issuer", "try", str(file))["rule"] == "main"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("set", "local"), "say what to change"),
        (("set", "local", "--enable", "--disable"), "exclude each other"),
        (("add", "x", "--url", "https://x.example"), "say for whom"),
        (("add", "x", "--url", "https://x.example", "--audience", "a", "--jwks", "missing"), "cannot read missing"),
        (("try", "missing"), "cannot read missing"),
        (("rule", "set", "local", "x", "--if", "ref", "--as", "robot", *SCOPES), "is no condition"),
        (("rule", "list", "none"), "there is no such issuer"),
    ],
)
def test_mistakes_are_one_line(boss: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in boss.fail("issuer", *words)


def test_a_job_logs_in(trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path) -> None:
    """With the token of a variable; docker's file has the login, keeps what else is in it, and pushes where it may."""
    runner = Caller(tmp_path / "runner").having(ENTREPOT_ID_TOKEN=job(local, near))
    file = runner.home / ".docker" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"auths": {"other": {"auth": "eDp5"}}, "psFormat": "x"}')
    assert runner.run("ci-login", near.url) == f"logged in to {near.host} for 900 seconds, in {file}\n"
    content = json.loads(file.read_text())
    assert (content["psFormat"], content["auths"]["other"]) == ("x", {"auth": "eDp5"})
    assert file.stat().st_mode & 0o777 == 0o600
    login = content["auths"][near.host]["auth"]
    assert base64.b64decode(login).startswith(b"oidc:")
    assert starts_upload(near, "acme/app", f"Basic {login}") == 202
    assert starts_upload(near, "library/app", f"Basic {login}") == 403
    assert "exchanged before" in runner.fail("ci-login", near.url)


def test_a_job_of_github(trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path) -> None:
    """Asks for its token with the audience, and may ask for less than the rule gives, by a rule of its choice."""
    local.answers["/github"] = {"value": job(local, near)}
    runner = Caller(tmp_path).having(
        ACTIONS_ID_TOKEN_REQUEST_URL=f"{local.url}/github?api=2",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN="x",
        ENTREPOT_SERVER_URL=near.url,
    )
    token = runner.run("ci-login", "--print", "--rule", "main", "--scope", "repository:acme/app:pull").strip()
    assert starts_upload(near, "acme/app", f"Bearer {token}") == 401
    assert f"/github?api=2&audience={near.host.replace(':', '%3A')}" in local.asked
    assert not (tmp_path / ".docker").exists()
    for answer, message in ((b"{}", "holds no token"), (b"x", "holds no token"), (None, "status 404")):
        local.answers["/github"] = answer
        assert message in runner.fail("ci-login")
    gone = runner.having(ACTIONS_ID_TOKEN_REQUEST_URL="http://127.0.0.1:1/")
    assert "GitHub gives no token" in gone.fail("ci-login")


def test_a_pod(
    trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a projected token, where it is found by itself or named; the login goes where podman is told to look."""
    projected = tmp_path / "token"
    projected.write_text(job(local, near) + "\n")
    auth = tmp_path / "auth.json"
    pod = Caller(tmp_path / "pod").having(REGISTRY_AUTH_FILE=str(auth))
    pod.home.mkdir()
    answer = pod.ask("ci-login", near.url, "--token-file", str(projected))
    assert answer == {"registry": near.host, "username": "oidc", "expires_in": 900, "file": str(auth)}
    monkeypatch.setattr(exchange, "PROJECTED", projected)
    projected.write_text(job(local, near))
    other = tmp_path / "other.json"
    assert str(other) in pod.run("ci-login", near.url, "--authfile", str(other))


def test_a_helper_of_docker_is_told_of(
    trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path
) -> None:
    """Docker would not look at the file where a helper is set, so the command warns."""
    file = tmp_path / "config.json"
    file.write_text('{"credsStore": "desktop"}')
    runner = Caller(tmp_path).having(ENTREPOT_ID_TOKEN=job(local, near), DOCKER_CONFIG=str(tmp_path))
    done = runner.call("ci-login", near.url)
    assert done.returncode == 0
    assert "docker asks the helper desktop" in done.stderr


@pytest.mark.parametrize("content", ["x", '{"auths": []}', "[]"])
def test_a_file_that_is_none(
    trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path, content: str
) -> None:
    """What is no file of docker or podman is left as it is."""
    file = tmp_path / "auth.json"
    file.write_text(content)
    runner = Caller(tmp_path).having(ENTREPOT_ID_TOKEN=job(local, near))
    assert str(file) in runner.fail("ci-login", near.url, "--authfile", str(file))
    assert file.read_text() == content


def test_no_job_is_found(nobody: Caller, near: Server) -> None:
    """Outside a job, the command says where it has looked; and without an address, that it needs one."""
    assert "there is no token of a job here" in nobody.fail("ci-login", near.url)
    assert "no registry is named" in nobody.fail("ci-login")
    assert "cannot read" in nobody.fail("ci-login", near.url, "--token-file", "missing")


def test_a_machine_of_aws(boss: Caller, near: Server, tmp_path: pathlib.Path) -> None:
    """Signs with whatever credentials AWS gives it, and is let in as its role."""
    with LocalSts() as sts:
        boss.run("issuer", "add", "aws", "--aws", "--url", sts.url, "--region", "eu-central-1", "--audience", near.host)
        boss.run("issuer", "rule", "set", "aws", "ci", "--if", f"arn == {ROLE}", "--as", "robot", *SCOPES)
        keys = sts.credentials
        runner = Caller(tmp_path).having(
            AWS_ACCESS_KEY_ID=keys.access_key,
            AWS_SECRET_ACCESS_KEY=keys.secret_key,
            AWS_SESSION_TOKEN=keys.token,
            AWS_REGION="eu-central-1",
        )
        token = runner.run("ci-login", near.url, "--aws", "--sts", sts.url, "--print").strip()
        assert starts_upload(near, "acme/app", f"Bearer {token}") == 202
        other = runner.having(AWS_REGION="us-west-2")
        assert "signed for eu-central-1" in other.fail("ci-login", near.url, "--aws", "--sts", sts.url)
        boss.run("issuer", "remove", "aws")
    stranger = Caller(tmp_path).having(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="none")
    assert "no credentials of AWS" in stranger.fail("ci-login", near.url, "--aws")


def test_exchanges_are_counted(trusted: Caller, near: Server, local: LocalIssuer, tmp_path: pathlib.Path) -> None:
    """The metrics have each result by issuer, whichever worker it came to."""
    runner = Caller(tmp_path).having(ENTREPOT_ID_TOKEN=job(local, near, ref="refs/heads/x"))
    assert "no rule of local fits" in runner.fail("ci-login", near.url)
    connection = http.client.HTTPConnection(near.host, timeout=30)
    wanted = 'entrepot_federation_total{issuer="local",result="rule"}'
    text = ""
    while wanted not in text:  # other workers publish each second; the time limit of tests ends this
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    connection.close()
