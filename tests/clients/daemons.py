"""Private daemons for the clients that need one: dockerd, containerd, podman's service. Each is ended by its pid."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator

from tests.clients.machine import Machine, ended, need, wait_until_answers

# What podman needs where setrlimit and cgroups are restricted, as inside many CI machines.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@contextlib.contextmanager
def docker_daemon(machine: Machine, settings: dict[str, object]) -> Iterator[str]:
    """A Docker daemon with storage of its own; answers the address of its socket."""
    socket = f"unix://{machine.home}/docker.sock"
    configuration = machine.write("daemon.json", json.dumps(settings))
    folders = ["--data-root", str(machine.folder("data")), "--exec-root", str(machine.folder("exec"))]
    network = ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    place = ["--pidfile", str(machine.home / "docker.pid"), "-H", socket]
    log = machine.home / "dockerd.log"
    need("docker")
    words = ["dockerd", "--config-file", str(configuration), *network, "--storage-driver", "overlay2"]
    with ended(machine.start(*words, *folders, *place, log=log)) as process:
        wait_until_answers(machine, process, log, "docker", "-H", socket, "info")
        yield socket


@contextlib.contextmanager
def containerd_daemon(machine: Machine) -> Iterator[pathlib.Path]:
    """A containerd with root, state and socket of its own; answers the path of its socket."""
    socket = machine.home / "containerd.sock"
    log = machine.home / "containerd.log"
    configuration = machine.write(
        "containerd.toml",
        f'version = 2\nroot = "{machine.folder("root")}"\nstate = "{machine.folder("state")}"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{socket}.ttrpc"\n',
    )
    need("ctr")
    with ended(machine.start("containerd", "--config", configuration, log=log)) as process:
        wait_until_answers(machine, process, log, "ctr", "-a", socket, "version")
        yield socket


@contextlib.contextmanager
def podman_service(machine: Machine) -> Iterator[str]:
    """Podman's API service over the storage of this machine; answers the address of its socket."""
    address = f"unix://{machine.home}/podman.sock"
    log = machine.home / "podman.log"
    with ended(
        machine.start("podman", *podman_storage(machine), "system", "service", "-t", "0", address, log=log)
    ) as process:
        wait_until_answers(machine, process, log, "podman", "--remote", "--url", address, "version")
        yield address


def podman_storage(machine: Machine) -> list[str]:
    """The flags that keep podman's storage inside this machine, with settings under which it can run containers."""
    machine.environment["CONTAINERS_CONF"] = str(machine.write("containers.conf", CONTAINERS_CONF))
    folders = ["--root", str(machine.folder("storage")), "--runroot", str(machine.folder("storage-run"))]
    return [*folders, "--tmpdir", str(machine.folder("libpod")), "--storage-driver", "vfs"]
