"""The API inside the whole server: mounted, counted, logged, and silent about secrets."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.support.asgi import Client
from tests.support.world import basic, password_of

SECRET = "a-very-secret-password"


@pytest.fixture
def admin(client: Client) -> Client:
    """The administrator."""
    return client.with_headers(authorization=basic("admin", password_of("admin")), content_type="application/json")


def test_the_server_has_the_api(admin: Client) -> None:
    """The whole application answers below /api/v1, with the password hasher and cache of the other faces."""
    assert admin.request("GET", "/api/v1/whoami").json["name"] == "admin"
    made = admin.request("POST", "/api/v1/users", b'{"name": "erin", "password": "%s"}' % SECRET.encode())
    assert made.status == 201
    erin = admin.with_headers(authorization=basic("erin", SECRET))
    assert erin.request("GET", "/v2/").status == 200


def test_requests_are_counted_by_route(admin: Client) -> None:
    """Metrics have the template of the route, never a name."""
    admin.request("GET", "/api/v1/users/admin")
    metrics = admin.request("GET", "/metrics").body.decode()
    assert 'route="/api/v1/users/{user}"' in metrics
    assert "users/admin" not in metrics


def test_secrets_are_nowhere(admin: Client, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A password is in no answer, no log line, no event and no other row, wherever a request went wrong."""
    bodies = [
        {"name": "erin", "password": SECRET},
        {"name": "erin", "password": SECRET},
        {"name": "Erin", "password": SECRET},
        {"name": "erin", "password": [SECRET]},
    ]
    answers = [admin.request("POST", "/api/v1/users", json.dumps(body).encode()) for body in bodies]
    answers.append(admin.request("PUT", "/api/v1/users/erin/password", json.dumps({"password": SECRET}).encode()))
    answers.append(admin.with_headers(authorization=basic("erin", SECRET)).request("GET", "/api/v1/users"))
    assert [answer.status for answer in answers] == [201, 409, 400, 400, 204, 403]
    assert not any(SECRET.encode() in answer.body for answer in answers)
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in "".join(capfd.readouterr())
