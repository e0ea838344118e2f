"""Who gets which answer: the table of the design, for every endpoint."""

from __future__ import annotations

import re
from typing import Any

import pytest

from entrepot.api.routes import ENDPOINTS
from tests.api import company
from tests.api.door import NEW, OLD, PRIVATE, PUBLIC, Door, at, tag_at

ROLE = {"role": "reader"}
MOVE = {"digest": NEW.digest}

# (method, path below a repository or namespace, document)
READS = [
    ("GET", ""),
    ("GET", "/tags"),
    ("GET", "/tags/latest"),
    ("GET", "/tags/latest/history"),
    ("GET", "/deleted-tags"),
]
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "/tags/latest", MOVE),
    ("POST", "/tags/latest/rollback", {}),
    ("DELETE", "/tags/latest", None),
    ("POST", "/restore", {"digest": OLD.digest}),
    ("PATCH", "", {"visibility": "public"}),
    ("PUT", "/members/bob", ROLE),
    ("DELETE", "/members/bob", None),
]
NAMESPACE_WRITES: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"visibility": "public"}),
    ("PUT", "/members/bob", ROLE),
    ("DELETE", "/members/bob", None),
]
REGISTRY: list[tuple[str, str, Any]] = [
    ("GET", "/users", None),
    ("POST", "/users", {"name": "erin", "password": "erin-password"}),
    ("GET", "/users/alice", None),
    ("PATCH", "/users/alice", {"administrator": True}),
    ("DELETE", "/users/alice", None),
    ("PUT", "/users/alice/password", {"password": "taken-over"}),
    ("DELETE", "/users/alice/lock", None),
    ("GET", "/users/alice/totp", None),
    ("POST", "/users/alice/totp/disable", {}),
    ("GET", "/users/alice/email", None),
    ("DELETE", "/users/alice/email", None),
    ("POST", "/users/alice/reset-code", None),
    ("GET", "/audit/records/1", None),
    ("GET", "/audit/root", None),
    ("GET", "/audit/verification", None),
    ("POST", "/roles", {"name": "ci", "actions": ["pull"]}),
    ("PATCH", "/roles/reader", {"actions": ["pull"]}),
    ("DELETE", "/roles/reader", None),
    ("PUT", "/plans/free", {"pulls": 100, "window_seconds": 21_600}),
    ("DELETE", "/plans/free", None),
    ("GET", "/plan-book", None),
    ("PUT", "/plan-book", {"plans": []}),
    ("POST", "/plan-book/changes", {"plans": []}),
    ("PUT", "/owners/bob/plan", {"plan": "free"}),
    ("DELETE", "/owners/bob/plan", None),
    ("GET", "/issuers", None),
    ("POST", "/issuers", {"name": "ci", "url": "https://ci.example", "audiences": ["registry.test"]}),
    ("GET", "/issuers/ci", None),
    ("PATCH", "/issuers/ci", {"enabled": False}),
    ("DELETE", "/issuers/ci", None),
    ("GET", "/issuers/ci/rules", None),
    ("GET", "/issuers/ci/rules/main", None),
    ("PUT", "/issuers/ci/rules/main", {"conditions": {}, "account": "bob", "scopes": ["repository:a/*:pull"]}),
    ("DELETE", "/issuers/ci/rules/main", None),
    ("POST", "/issuer-trials", {"token": "x"}),
    ("GET", "/collection", None),
    ("POST", "/collection", {}),
    ("GET", "/integrity", None),
    ("GET", "/integrity/damaged", None),
    ("POST", "/integrity/scrub", {}),
    ("GET", "/collection/status", None),
    ("GET", "/jobs", None),
    ("GET", "/jobs/counts", None),
    ("GET", "/jobs/1", None),
    ("DELETE", "/jobs/1", None),
    ("POST", "/jobs/1/retry", None),
    ("GET", "/job-schedules", None),
    ("GET", "/job-schedules/content.collect", None),
    ("PATCH", "/job-schedules/content.collect", {"paused": True}),
    ("DELETE", "/job-schedules/content.collect", None),
    ("GET", "/signing-keys", None),
    ("POST", "/signing-keys", {}),
    ("GET", "/sessions?user=alice", None),
    ("GET", "/sign-on-providers", None),
    ("POST", "/sign-on-providers", {"name": "idp", "issuer": "https://idp.example", "client_id": "entrepot"}),
    ("GET", "/sign-on-providers/idp", None),
    ("PATCH", "/sign-on-providers/idp", {"enabled": False}),
    ("DELETE", "/sign-on-providers/idp", None),
    ("GET", "/sign-on-providers/idp/links", None),
    ("PUT", "/sign-on-providers/idp/links/alice", {"subject": "u-1"}),
    ("DELETE", "/sign-on-providers/idp/links/alice", None),
    ("GET", "/users/alice/tokens", None),
    ("POST", "/users/alice/tokens", {"name": "x"}),
    ("GET", "/users/alice/tokens/1", None),
    ("DELETE", "/users/alice/tokens/1", None),
    ("GET", "/service-accounts", None),
    ("POST", "/service-accounts", {"name": "ci"}),
    ("GET", "/service-accounts/robot$ci", None),
    ("PATCH", "/service-accounts/robot$ci", {"disabled": True}),
    ("DELETE", "/service-accounts/robot$ci", None),
    ("GET", "/service-accounts/robot$ci/secrets", None),
    ("POST", "/service-accounts/robot$ci/secrets", {"name": "x"}),
    ("GET", "/service-accounts/robot$ci/secrets/1", None),
    ("DELETE", "/service-accounts/robot$ci/secrets/1", None),
]
OPEN = ["/namespaces", "/repositories", "/whoami", "/organisations", "/invitations", "/roles", "/roles/reader"]
OPEN += ["/plans", "/pull-usage"]


@pytest.mark.parametrize(("method", "path"), READS)
def test_reads_of_the_hidden_look_like_reads_of_nothing(shared: Door, method: str, path: str) -> None:
    """Who may not read gets 404 with the same body whether the repository is there or not."""
    there = shared.ask("bob", method, at(PRIVATE) + path)
    absent = shared.ask("bob", method, at("priv/none") + path)
    stranger = shared.ask("bob", method, at("none/none") + path)
    assert {(answer.status, answer.code) for answer in (there, absent, stranger)} == {(404, "NAME_UNKNOWN")}
    assert there.body.replace(b"priv/app", b"priv/none") == absent.body
    assert absent.body.replace(b"priv/none", b"none/none") == stranger.body


@pytest.mark.parametrize(("method", "path", "document"), WRITES)
def test_writes_to_the_hidden_look_like_writes_to_nothing(shared: Door, method: str, path: str, document: Any) -> None:
    """Who may not read gets 403 with the same body for a write, whether the repository is there or not."""
    there = shared.ask("bob", method, at(PRIVATE) + path, document)
    absent = shared.ask("bob", method, at("priv/none") + path, document)
    stranger = shared.ask("bob", method, at("none/none") + path, document)
    assert {(answer.status, answer.code) for answer in (there, absent, stranger)} == {(403, "DENIED")}
    assert there.body.replace(b"priv/app", b"priv/none") == absent.body
    assert absent.body.replace(b"priv/none", b"none/none") == stranger.body


@pytest.mark.parametrize(("method", "path", "document"), WRITES)
def test_readers_are_told_why_not(shared: Door, method: str, path: str, document: Any) -> None:
    """Who may read is refused with the reasons: the role that is needed and the one that is held."""
    for user, repository in (("carol", PRIVATE), ("bob", PUBLIC)):
        answer = shared.ask(user, method, at(repository) + path, document)
        assert (answer.status, answer.code) == (403, "DENIED")
        reasons = " ".join(answer.json["errors"][0]["detail"]["reasons"])
        assert "needs the role" in reasons
        assert user in reasons


@pytest.mark.parametrize("repository", [PRIVATE, "priv/none", "none/none"])
def test_nobody_is_asked_to_log_in(shared: Door, repository: str) -> None:
    """Without credentials, what nobody may read is 401 with a challenge, there or not."""
    for method, path, document in [(method, path, None) for method, path in READS] + WRITES:
        answer = shared.ask("", method, at(repository) + path, document)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer["www-authenticate"].startswith('Basic realm="entrepot"')


def test_challenges_name_the_scope(shared: Door) -> None:
    """A 401 of what a token can do names the scope to ask for; of what none can, Basic alone."""
    challenge = shared.ask("", "GET", tag_at(PRIVATE))["www-authenticate"]
    assert f'Bearer realm="http://registry.test/token",service="registry.test",scope="repository:{PRIVATE}:pull"' in (
        challenge
    )
    assert f'scope="repository:{PRIVATE}:pull,delete"' in shared.ask("", "DELETE", tag_at(PRIVATE))["www-authenticate"]
    assert 'scope="registry:catalog:*"' in shared.ask("", "GET", "/repositories")["www-authenticate"]
    assert "Bearer" not in shared.ask("", "PATCH", at(PRIVATE), {"visibility": None})["www-authenticate"]
    assert "Bearer" not in shared.ask("", "GET", "/users")["www-authenticate"]


@pytest.mark.parametrize(("method", "path"), READS)
def test_what_is_public_needs_no_login(shared: Door, method: str, path: str) -> None:
    """A public repository is read without credentials, and with a token for anything or nothing else."""
    assert shared.ask("", method, at(PUBLIC) + path).status == 200
    token = shared.world.token("", f"repository:{PUBLIC}:pull")
    assert shared.client(token=token).request(method, f"/api/v1{at(PUBLIC)}{path}").status == 200


@pytest.mark.parametrize(("method", "path", "document"), NAMESPACE_WRITES)
def test_namespaces_are_hidden_alike(shared: Door, method: str, path: str, document: Any) -> None:
    """Writes to a hidden namespace and to none are refused alike; in a public one, the reasons are told."""
    there = shared.ask("bob", method, f"/namespaces/priv{path}", document)
    absent = shared.ask("bob", method, f"/namespaces/none{path}", document)
    assert (there.status, there.body.replace(b"priv", b"none")) == (403, absent.body)
    assert shared.ask("bob", method, f"/namespaces/pub{path}", document).status == 403
    assert shared.ask("", method, f"/namespaces/priv{path}", document).status == 401


@pytest.mark.parametrize("path", ["", "/members"])
def test_hidden_namespaces_are_nowhere(shared: Door, path: str) -> None:
    """Reads of a hidden namespace and of none are 404 with the same body."""
    there, absent = (shared.ask("bob", "GET", f"/namespaces/{name}{path}") for name in ("priv", "none"))
    assert (there.status, there.code) == (404, "NAME_UNKNOWN")
    assert there.body.replace(b"priv", b"none") == absent.body


def test_members_are_for_owners(shared: Door) -> None:
    """Who may read but not administer does not see who else has a role."""
    for path in ("/namespaces/priv/members", f"{at(PRIVATE)}/members"):
        assert shared.ask("carol", "GET", path).status == 403
        assert shared.ask("alice", "GET", path).status == 200
    assert shared.ask("bob", "GET", f"{at(PRIVATE)}/members").status == 404


def test_the_trash_is_for_those_who_may_delete(shared: Door) -> None:
    """Who may read but not delete does not see what was deleted."""
    answers = [shared.ask(user, "GET", f"{at(PRIVATE)}/trash").status for user in ("alice", "carol", "bob", "")]
    assert answers == [200, 403, 404, 401]


@pytest.mark.parametrize(("method", "path", "document"), REGISTRY)
def test_administration_is_for_administrators(shared: Door, method: str, path: str, document: Any) -> None:
    """Everybody else is refused with the reason, nobody is asked to log in, and a token is not enough."""
    answer = shared.ask("bob", method, path, document)
    assert (answer.status, answer.code) == (403, "DENIED")
    assert answer.json["errors"][0]["detail"]["reasons"] == ["only instance administrators may do this"]
    assert shared.ask("", method, path, document).status == 401


@pytest.mark.parametrize("path", OPEN)
def test_whoever_has_proved_something_may_ask(shared: Door, path: str) -> None:
    """Listings and whoami need credentials, and no role."""
    assert shared.ask("bob", "GET", path).status == 200
    assert shared.ask("", "GET", path).status == 401


@pytest.mark.parametrize("header", ["Basic Ym9iOndyb25n", "Basic !", "Bearer x.y.z", "Negotiate x", ""])
def test_wrong_credentials_are_refused_everywhere(shared: Door, header: str) -> None:
    """Credentials that are not genuine are 401, even for what anybody may read."""
    answer = shared.ask("", "GET", at(PUBLIC), authorization=header)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def test_a_catalogue_token_lists(shared: Door) -> None:
    """A token with the scope of the catalogue lists, one without it is told so."""
    able = shared.client(token=shared.world.token("bob", "registry:catalog:*"))
    unable = shared.client(token=shared.world.token("bob", f"repository:{PUBLIC}:pull"))
    assert able.request("GET", "/api/v1/repositories").status == 200
    answer = unable.request("GET", "/api/v1/repositories")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def test_every_endpoint_is_in_this_table() -> None:
    """No endpoint is left out of the tests of this file."""
    tested = [
        (method, f"/repositories/x{path}")
        for method, path, *_ in [*READS, *WRITES, ("GET", "/members"), ("GET", "/trash")]
    ]
    tested += [(method, f"/namespaces/x{path}") for method, path, _ in NAMESPACE_WRITES]
    tested += [("GET", "/namespaces/x"), ("GET", "/namespaces/x/members")]
    tested += [(method, path.partition("?")[0]) for method, path, _ in REGISTRY] + [("GET", path) for path in OPEN]
    inside = [*company.READS, *company.RUNS]
    tested += [(method, f"/organisations/x{path.partition('?')[0]}") for method, path, _ in inside] + company.OPEN
    left = [
        (endpoint.method, endpoint.path)
        for endpoint in ENDPOINTS
        if not any(
            method == endpoint.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", endpoint.path), path)
            for method, path in tested
        )
    ]
    # Whoever has an account may make the namespace of their own name, and a login password: test_namespaces.py and
    # test_secrets.py have their rows. What verbs judge by the document is in test_grants.py and test_team_groups.py.
    # Who may read which part of the audit log is in test_audit.py; what is only for somebody's self in test_totp.py and
    # test_people.py, and there also what codes of mails open for whom.
    elsewhere = re.compile(
        "/(grants|access|denials|policy|audit$|registrations|password-resets|mail-(invitations|acceptances))|.*/groups$"
        "|/users/{user}/(totp|email)"
    )
    assert [row for row in left if not elsewhere.match(row[1])] == [
        ("POST", "/namespaces"),
        ("POST", "/login-password"),
        # Whose session it is decides: test_sessions.py; whose plan: test_plans.py.
        ("DELETE", "/sessions/{session}"),
        ("GET", "/plans/{plan}"),
        ("GET", "/owners/{owner}/plan"),
    ]
