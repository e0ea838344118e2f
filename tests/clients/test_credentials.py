"""Secrets of service accounts, login passwords and the credential helper, as podman and skopeo use them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.daemons import podman_storage
from tests.clients.images import Layout, running_image, small_image
from tests.clients.machine import PATH, ClientFailedError, Machine
from tests.clients.target import Registry, push_layout, tls_flags

PROGRAMS = pathlib.Path(sys.executable).parent
LIMIT_SECONDS = 120


@pytest.fixture
def helped(machine: Machine, registry: Registry) -> Machine:
    """A machine on which `entrepot login` was called, with the programs of this environment at hand."""
    machine.environment["PATH"] = f"{PATH}:{PROGRAMS}"
    machine.environment["XDG_CONFIG_HOME"] = str(machine.folder("config"))
    who = ["--username", registry.user, "--password-stdin"]
    machine.run(PROGRAMS / "entrepot", "login", registry.url, *who, stdin=registry.password)
    return machine


@pytest.fixture
def image(machine: Machine, registry: Registry, layout: Layout, repository: str) -> str:
    """A name to pull by."""
    layout.add_image(small_image(repository), "v1")
    push_layout(machine, registry, layout, "v1", repository)
    return f"{registry.host}/{repository}:v1"


def api(registry: Registry, method: str, path: str, document: Any = None) -> Any:
    """One exchange of the management API that must succeed."""
    answer = registry.request(method, f"/api/v1{path}", json=document)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def add_robot(registry: Registry, repository: str, role: str = "writer") -> str:
    """A service account in the namespace of a repository; its name."""
    namespace, name = repository.partition("/")[0], f"ci-{uuid.uuid4().hex[:8]}"
    robot = api(registry, "POST", "/service-accounts", {"name": name, "namespace": namespace})["name"]
    escaped = robot.replace("$", "%24").replace("+", "%2B")
    api(registry, "PUT", f"/namespaces/{namespace}/members/{escaped}", {"role": role})
    return str(robot)


def add_secret(registry: Registry, robot: str, name: str) -> tuple[str, int]:
    """A secret of a service account, and its id."""
    made = api(registry, "POST", f"/service-accounts/{robot}/secrets", {"name": name})
    return made["secret"], made["details"]["id"]


def wait_until_refused(machine: Machine, *command: str) -> str:
    """What a client says as soon as all workers have looked, which they do each second, and refuse it."""
    limit = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            return machine.refused(*command)
        except ClientFailedError:
            assert time.monotonic() < limit
            time.sleep(0.2)


def inspect(machine: Machine, registry: Registry, image: str) -> None:
    """Look at an image by skopeo, with whatever credentials it finds by itself."""
    machine.run("skopeo", "inspect", "--raw", *tls_flags(registry), f"docker://{image}")


@pytest.mark.tier_a
def test_a_robot_name_logs_in(machine: Machine, registry: Registry, image: str, repository: str) -> None:
    """`robot$namespace+name` and a secret are a user and a password for skopeo, until the secret is revoked."""
    robot = add_robot(registry, repository)
    secret, number = add_secret(registry, robot, "one")
    words = ["skopeo", "login", *tls_flags(registry), "-u", robot, "--password-stdin", registry.host]
    machine.run(*words, stdin=secret)
    inspect(machine, registry, image)
    target = f"docker://{registry.host}/{repository}/copy:v1"
    flags = [*tls_flags(registry, "src-"), *tls_flags(registry, "dest-")]
    machine.run("skopeo", "copy", *flags, f"docker://{image}", target)
    api(registry, "DELETE", f"/service-accounts/{robot}/secrets/{number}")
    said = wait_until_refused(machine, "skopeo", "inspect", *tls_flags(registry), f"docker://{image}")
    assert "has been revoked" in said or "unauthorized" in said.lower()


@pytest.mark.tier_a
def test_a_login_password_is_piped(helped: Machine, registry: Registry, image: str) -> None:
    """`entrepot login-password | skopeo login --password-stdin` logs in for some hours."""
    password = helped.run(PROGRAMS / "entrepot", "login-password")
    who = ["-u", registry.user, "--password-stdin", registry.host]
    helped.run("skopeo", "login", *tls_flags(registry), *who, stdin=password)
    inspect(helped, registry, image)


@pytest.mark.tier_a
def test_the_helper_of_auth_json(helped: Machine, registry: Registry, image: str) -> None:
    """skopeo asks the helper that auth.json names for the registry, and logs out by it."""
    helped.write("auth.json", json.dumps({"credHelpers": {registry.host: "entrepot"}}))
    inspect(helped, registry, image)
    said = helped.run("skopeo", "login", "--get-login", registry.host)
    assert said.strip() == registry.user
    helped.run("skopeo", "logout", registry.host)
    helped.refused("skopeo", "inspect", *tls_flags(registry), f"docker://{image}")


@pytest.mark.tier_a
def test_the_helper_of_registries_conf(helped: Machine, registry: Registry, image: str) -> None:
    """skopeo asks the helper that registries.conf names for all registries, and lets it store a login."""
    helped.write(".config/containers/registries.conf", 'credential-helpers = ["entrepot"]\n')
    inspect(helped, registry, image)
    who = ["-u", registry.user, "--password-stdin", registry.host]
    helped.run("skopeo", "login", *tls_flags(registry), *who, stdin=registry.password)
    inspect(helped, registry, image)


@pytest.mark.tier_b
@pytest.mark.root
def test_podman_asks_the_helper(helped: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """podman pulls and pushes with what the helper hands it."""
    layout.add_image(running_image(repository), "v1")
    push_layout(helped, registry, layout, "v1", repository)
    helped.write("auth.json", json.dumps({"credHelpers": {registry.host: "entrepot"}}))
    name = f"{registry.host}/{repository}"
    helped.run("podman", *podman_storage(helped), "pull", *tls_flags(registry), f"{name}:v1")
    helped.run("podman", *podman_storage(helped), "push", *tls_flags(registry), f"{name}:v1", f"{name}:v2")
    assert registry.tags(repository) == ["v1", "v2"]


class Puller:
    """Pulls one image again and again with the login that podman has, until it is told to stop."""

    def __init__(self, machine: Machine, registry: Registry, image: str) -> None:
        self._machine, self._registry, self._image = machine, registry, image
        self._storage = podman_storage(machine)
        self._stop = threading.Event()
        self.pulls = 0
        self.failure: BaseException | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Puller]:
        """Pull meanwhile."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def wait_for_pulls(self, number: int) -> None:
        """Wait until so many more pulls have been begun and ended."""
        wanted, limit = self.pulls + number + 1, time.monotonic() + LIMIT_SECONDS
        while self.pulls < wanted:
            assert self.failure is None, self.failure
            assert time.monotonic() < limit, f"only {self.pulls} pulls"
            time.sleep(0.05)

    def _run(self) -> None:
        while not self._stop.is_set() and self.failure is None:
            try:
                self._machine.run("podman", *self._storage, "pull", *tls_flags(self._registry), self._image)
                self._machine.run("podman", *self._storage, "rmi", self._image)
            except AssertionError as error:
                self.failure = error
            self.pulls += 1


@pytest.mark.tier_b
@pytest.mark.root
def test_a_secret_is_rotated_while_pulls_go_on(
    machine: Machine, registry: Registry, image: str, repository: str
) -> None:
    """A new secret, a new login, the old secret revoked: no pull fails before, between or after, three times over."""
    robot = add_robot(registry, repository, "reader")

    def log_in(secret: str) -> None:
        who = ["-u", robot, "--password-stdin", registry.host]
        machine.run("podman", *podman_storage(machine), "login", *tls_flags(registry), *who, stdin=secret)

    secret, number = add_secret(registry, robot, "first")
    log_in(secret)
    with Puller(machine, registry, image).running() as puller:
        for name in ("second", "third", "fourth"):
            puller.wait_for_pulls(1)
            secret, following = add_secret(registry, robot, name)
            log_in(secret)
            puller.wait_for_pulls(1)
            api(registry, "DELETE", f"/service-accounts/{robot}/secrets/{number}")
            number = following
        puller.wait_for_pulls(2)
    assert puller.failure is None
    api(registry, "DELETE", f"/service-accounts/{robot}/secrets/{number}")
    wait_until_refused(machine, "podman", *podman_storage(machine), "pull", *tls_flags(registry), image)
