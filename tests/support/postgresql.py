"""A private PostgreSQL for tests: its own cluster in a temporary folder on a loopback port, ended by process id."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from tests.support.server import free_port

INSTALL = "PostgreSQL is not installed: apt-get install postgresql"
ACCOUNT = "postgres"
START_LIMIT_SECONDS = 60
STOP_LIMIT_SECONDS = 30
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "logging_collector=off",
)
FAST = ("fsync=off", "full_page_writes=off")
# Should the test run be killed, the kernel ends the server too.
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
STAND_BY = "standby"
FOLLOWED = f"select count(*) from pg_stat_replication where application_name = '{STAND_BY}' and state = 'streaming'"
# Sorting by a language, so that whoever forgets to sort by bytes is found out.
LOCALE = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")


class Postgres:
    """Starts and stops one cluster; use it as a context manager. `new_database()` answers the url of a fresh database.

    Fast instead of durable unless asked. With `folder` the cluster is there, made anew or as somebody left it, and
    stays when the server ends. Skips the test, loudly, where PostgreSQL is not installed.
    """

    def __init__(self, folder: pathlib.Path | None = None, *, is_durable: bool = False) -> None:
        self._programs = _find_programs()
        self._is_lasting = folder is not None
        self._folder = folder or pathlib.Path(tempfile.mkdtemp(prefix="entrepot-postgresql-"))
        self._settings = SETTINGS if is_durable else (*SETTINGS, *FAST)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __enter__(self) -> Postgres:
        self._folder.mkdir(exist_ok=True)
        _give(self._folder)
        try:
            if (self.data / "PG_VERSION").exists():
                # The number in it may be that of another process by now.
                (self.data / "postmaster.pid").unlink(missing_ok=True)
            else:
                sync = [] if self._is_lasting else ["--no-sync"]
                words = ["--pgdata", str(self.data), "--auth=trust", f"--username={ACCOUNT}", *sync, *LOCALE]
                self._run("initdb", *words)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if not self._is_lasting:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def data(self) -> pathlib.Path:
        """The folder of the cluster."""
        return self._folder / "data"

    def start(self) -> None:
        """Start the server, again after `stop`, and wait until it answers; it ends with the calling thread."""
        options = [word for setting in self._settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*WITH_PARENT, str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *options],
                user=_account(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        limit = time.monotonic() + START_LIMIT_SECONDS
        while self._call("pg_isready", "--quiet").returncode:
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.output()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to each of its processes, as a machine that is lost."""
        assert self._process is not None
        processes = [self._process.pid, *self._children()]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait(STOP_LIMIT_SECONDS)
        self._process = None

    def kill_main(self) -> None:
        """SIGKILL to the process that starts the others; each of these ends when it notices."""
        assert self._process is not None
        children = self._children()
        self._process.kill()
        self._process.wait(STOP_LIMIT_SECONDS)
        self._process = None
        limit = time.monotonic() + STOP_LIMIT_SECONDS
        while any(pathlib.Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < limit, self.output()[-2000:]
            time.sleep(0.02)

    def end_its_log(self) -> None:
        """Have it begin the next file of its log until it has no room for one, which it does not survive."""
        assert self._process is not None
        limit = time.monotonic() + STOP_LIMIT_SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < limit, self.output()[-2000:]
            # Without anything written meanwhile the file stays.
            self._call(
                "psql", "-c", "create table if not exists filling (n int)", "-c", "drop table filling", "postgres"
            )
            self._call("psql", "-c", "select pg_switch_wal()", "postgres")
        self._process = None

    def kill_one(self, url: str) -> None:
        """SIGKILL to a process that serves a connection to this database; the server then cuts all connections."""
        name = url.rpartition("/")[2]
        found = self.query(
            self.url("postgres"), f"select pid from pg_stat_activity where datname = '{name}' order by random() limit 1"
        )
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(found), signal.SIGKILL)

    def follow(self, primary: Postgres) -> None:
        """Become the synchronous stand-by of another server, instead of whatever this one held."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user={ACCOUNT} application_name={STAND_BY}"
        self._run(
            "pg_basebackup", f"--pgdata={self.data}", f"--dbname={source}", "--write-recovery-conf", "--checkpoint=fast"
        )
        self.start()
        primary.wait_for(FOLLOWED, "1")
        primary.set_up("synchronous_standby_names", f"'{STAND_BY}'")
        primary.wait_for(f"{FOLLOWED} and sync_state = 'sync'", "1")

    def promote(self) -> None:
        """Take writes, without waiting for any stand-by."""
        self.query(self.url("postgres"), "select pg_promote()")

    def set_up(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.query(self.url("postgres"), f"alter system set {name} = {value}")
        self.query(self.url("postgres"), "select pg_reload_conf()")

    def wait_for(self, sql: str, answer: str) -> None:
        """Wait until a statement answers this."""
        limit = time.monotonic() + START_LIMIT_SECONDS
        while self.query(self.url("postgres"), sql) != answer:
            assert time.monotonic() < limit, (sql, self.output()[-2000:])
            time.sleep(0.05)

    def url(self, name: str) -> str:
        """The url of a database."""
        return f"postgresql://{ACCOUNT}@127.0.0.1:{self.port}/{name}"

    def _children(self) -> list[int]:
        assert self._process is not None
        main = self._process.pid
        return [int(child) for child in pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()]

    def stop(self) -> None:
        """End the server at once, its connections cut; what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_LIMIT_SECONDS)
            self._process = None

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """The server neither answers nor goes away: SIGSTOP to each of its processes, then SIGCONT."""
        assert self._process is not None
        stopped = [self._process.pid]
        os.kill(stopped[0], signal.SIGSTOP)
        # Whatever it had begun before it stood still is there by now.
        stopped += self._children()
        for process in stopped[1:]:
            os.kill(process, signal.SIGSTOP)
        try:
            limit = time.monotonic() + STOP_LIMIT_SECONDS
            # Out of the kernel: whoever is asked to stand still ends what it is writing first.
            while any(_state_of(process) not in "TZ" for process in stopped):
                assert time.monotonic() < limit
                time.sleep(0.002)
            yield
        finally:
            for process in reversed(stopped):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def new_database(self, *, like: str = "") -> str:
        """The url of a new, empty database, or of a copy of the database behind the url `like`."""
        name = f"entrepot_{secrets.token_hex(6)}"
        template = like.rpartition("/")[2] or "template0"
        self._run("createdb", f"--template={template}", name)
        return self.url(name)

    @contextlib.contextmanager
    def database_at(self, folder: pathlib.Path) -> Iterator[str]:
        """The url of a new database whose tables lie in a folder; only the log of what is written lies elsewhere."""
        folder.mkdir()
        _give(folder)
        name = f"entrepot_{secrets.token_hex(6)}"
        self.query(self.url("postgres"), f"create tablespace {name} location '{folder}'")
        try:
            self._run("createdb", "--template=template0", f"--tablespace={name}", name)
            # The files of a new database are holes until its pages are written. On a disk that is full by then they
            # could not be, and whoever needed a page's place in memory, be it for a read, would fail.
            self.query(self.url("postgres"), "checkpoint")
            yield self.url(name)
        finally:
            self.drop_database(self.url(name))
            self.query(self.url("postgres"), f"drop tablespace {name}")

    def drop_database(self, url: str) -> None:
        """Forget a database, cutting whoever still uses it."""
        self._run("dropdb", "--force", "--if-exists", url.rpartition("/")[2])

    def query(self, url: str, sql: str) -> str:
        """What psql prints for a statement, without decoration."""
        return self._run("psql", "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql, url)

    def output(self) -> str:
        """What the server has logged so far."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _run(self, program: str, *words: str) -> str:
        done = self._call(program, *words)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stderr}")
        return done.stdout.strip()

    def _call(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._programs / program), *words],
            env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": ACCOUNT},
            user=_account() if program in {"initdb", "pg_basebackup"} else None,
            cwd=self._folder,
            check=False,
            capture_output=True,
            text=True,
        )


def _find_programs() -> pathlib.Path:
    # Debian keeps each version's programs in a folder of its own, outside PATH.
    folders = [path.parent for path in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found := shutil.which("initdb"):
        folders.append(pathlib.Path(found).resolve().parent)
    if not folders:
        pytest.skip(INSTALL)
    return max(folders, key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0)


def _state_of(process: int) -> str:
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def _account() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as the account that its package made."""
    return ACCOUNT if os.geteuid() == 0 else None


def _give(folder: pathlib.Path) -> None:
    if os.geteuid() == 0:
        try:
            owner = pwd.getpwnam(ACCOUNT)
        except KeyError:
            pytest.skip(INSTALL)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
