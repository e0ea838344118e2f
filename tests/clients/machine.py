"""A private machine for one client: its own home, its own credentials, hard time limits, nothing of ours leaks in."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

STORE = pathlib.Path(os.environ.get("ENTREPOT_CLIENTS_DIR") or pathlib.Path.home() / ".cache" / "entrepot-clients")
# Debian's programs first: a newer one of the same name elsewhere is another client.
PATH = ":".join(
    [
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        *(str(STORE / name) for name in ("bin", "venv/bin", "node/node_modules/.bin")),
    ]
)
START_LIMIT_SECONDS = 40
PROGRAMS = pathlib.Path(__file__).parent / "programs"
TIERS = {
    "a": "curl haproxy nginx skopeo umoci buildah docker-registry zstd helm3 helm4 dxf devcontainer node chromium",
    "b": "docker dockerd containerd ctr podman busybox ip wash docker-compose-2 docker-compose-5",
    "c": "debootstrap ch-image notary notary-server syft trivy occystrap udocker regshape",
}


def missing(program: str) -> str:
    """Why a test cannot run without this program, and the command that installs it."""
    tier = next((tier for tier, names in TIERS.items() if program in names.split()), "a b c")
    return f"{program} is missing; install it with: tests/clients/install.sh {tier}"


def need(program: str) -> str:
    """The full path of a program; without it the test is skipped, naming the remedy."""
    found = shutil.which(program, path=PATH)
    if found is None:
        pytest.skip(missing(program))
    return found


def need_file(path: pathlib.Path, tier: str) -> pathlib.Path:
    """A file that `install.sh` makes; without it the test is skipped, naming the remedy."""
    if not path.exists():
        pytest.skip(f"{path.name} is missing; install it with: tests/clients/install.sh {tier}")
    return path


class ClientFailedError(AssertionError):
    """A client ended with an exit code that the test did not expect."""


class Machine:
    """Runs clients with a private home and waits for them, but never for ever."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        self.prefix: list[str] = []
        self.write("auth.json", "{}")
        self.environment = {
            "PATH": PATH,
            "HOME": str(home),
            "USER": "root",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder("tmp")),
            "XDG_RUNTIME_DIR": str(self.folder("run")),
            "DOCKER_CONFIG": str(self.folder("docker")),
            "REGISTRY_AUTH_FILE": str(home / "auth.json"),
            "HELM_CONFIG_HOME": str(self.folder("helm/config")),
            "HELM_CACHE_HOME": str(self.folder("helm/cache")),
            "HELM_DATA_HOME": str(self.folder("helm/data")),
        }

    def folder(self, name: str) -> pathlib.Path:
        """A folder of this machine, made when it is not there."""
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: str | bytes) -> pathlib.Path:
        """A file of this machine."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def call_by_name(self, name: str, address: str = "127.0.0.1") -> None:
        """Let clients of this machine resolve a name, in a mount namespace where `/etc/hosts` is their own."""
        if os.geteuid() != 0:
            pytest.skip("a private /etc/hosts needs root: run as root, e.g. sudo make clients")
        hosts = self.write("hosts", f"127.0.0.1 localhost\n{address} {name}\n")
        mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
        self.prefix = [need("unshare"), "--mount", "--propagation", "private", need("sh"), "-c", mount, str(hosts)]

    def build_context(self, message: str) -> pathlib.Path:
        """The folder of an image that prints a message when it is run: a static busybox and one file."""
        self.write("context/busybox", pathlib.Path(need("busybox")).read_bytes()).chmod(0o755)
        self.write("context/message", message + "\n")
        layers = "COPY busybox /bin/busybox\nCOPY message /etc/message\n"
        return self.write(
            "context/Dockerfile", f'FROM scratch\n{layers}CMD ["/bin/busybox", "cat", "/etc/message"]\n'
        ).parent

    def run(self, *command: str | pathlib.Path, limit: float = 60, stdin: str | None = None) -> str:
        """Run a client that must succeed; answer what it printed on standard output."""
        code, output, errors = self._finish(command, limit, stdin)
        if code != 0:
            raise ClientFailedError(f"{_shown(command)} ended with {code}\n{output}\n{errors}")
        return output

    def run_loud(self, *command: str | pathlib.Path, limit: float = 60) -> str:
        """As `run`, but with what the client printed on standard error as well."""
        code, output, errors = self._finish(command, limit, None)
        if code != 0:
            raise ClientFailedError(f"{_shown(command)} ended with {code}\n{output}\n{errors}")
        return output + errors

    def refused(self, *command: str | pathlib.Path, limit: float = 60) -> str:
        """Run a client that must fail; answer all that it printed."""
        code, output, errors = self._finish(command, limit, None)
        if code == 0:
            raise ClientFailedError(f"{_shown(command)} succeeded but had to fail\n{output}\n{errors}")
        return output + errors

    def python(self, program: str, *arguments: str | pathlib.Path, limit: float = 60) -> str:
        """Run one of `programs/` with the clients' own Python."""
        interpreter = need_file(STORE / "venv" / "bin" / "python", "a")
        return self.run(interpreter, PROGRAMS / program, *arguments, limit=limit)

    def start(self, *command: str | pathlib.Path, log: pathlib.Path) -> subprocess.Popen[bytes]:
        """Start a daemon in a session of its own; `ended` stops it."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self._words(command),
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _words(self, command: tuple[str | pathlib.Path, ...]) -> list[str]:
        return [*self.prefix, need(str(command[0])), *(str(word) for word in command[1:])]

    def _finish(self, command: tuple[str | pathlib.Path, ...], limit: float, stdin: str | None) -> tuple[int, str, str]:
        process = subprocess.Popen(
            self._words(command),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(None if stdin is None else stdin.encode(), timeout=limit)
        except subprocess.TimeoutExpired:
            kill_session(process)
            output, errors = process.communicate(timeout=10)
            late = f"{_shown(command)} took more than {limit} s\n{output.decode()}\n{errors.decode()}"
            raise ClientFailedError(late) from None
        return process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")


def _shown(command: tuple[str | pathlib.Path, ...]) -> str:
    return " ".join(str(word) for word in command)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL what we started and its children, which share its session, and nothing else."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes], *, patience: float = 20) -> Iterator[subprocess.Popen[bytes]]:
    """End a daemon on the way out: politely, then by force."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            kill_session(process)
            process.wait(10)


def wait_until_answers(
    machine: Machine, process: subprocess.Popen[bytes], log: pathlib.Path, *command: str | pathlib.Path
) -> None:
    """Wait until a command succeeds, which is how a daemon says that it is ready; not longer than it lives."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while True:
        try:
            machine.run(*command, limit=10)
        except ClientFailedError as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise ClientFailedError(f"{error}\n{log.read_text(errors='replace')[-4000:]}") from error
            time.sleep(0.1)
        else:
            return
