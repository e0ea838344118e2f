"""A private directory for tests: Debian's slapd in a temporary folder on loopback ports, ended by process id.

| entry | is |
|---|---|
| uid=alice, uid=bob, uid=Carol, uid=dora | people; the password is `NAME-secret`, `carol-secret` for Carol |
| cn=devs | groupOfNames of alice and bob, which `memberOf` tells as well |
| cn=Ops, Night | groupOfNames of alice, with a comma in its name |
| cn=builders | posixGroup of alice and Carol |
| cn=reader | the service account, the only one that may search |
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from tests.clients.authority import Authority, make_authority
from tests.support.server import free_port

INSTALL = "slapd is not installed: apt-get install slapd ldap-utils"
START_LIMIT_SECONDS = 60
STOP_LIMIT_SECONDS = 30
# Should the test run be killed, the kernel ends the server too.
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
BASE = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
MANAGER, READER = f"cn=manager,{BASE}", f"cn=reader,{BASE}"
PASSWORD = "manager-secret"
READER_PASSWORD = "reader-secret"
# What Active Directory and 389 say of an account, for the entries here.
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.55555.1 NAME 'userAccountControl' EQUALITY integerMatch
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.55555.2 NAME 'nsAccountLock' EQUALITY caseIgnoreMatch
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.55555.3 NAME 'lockable' AUXILIARY MAY ( userAccountControl $ nsAccountLock ) )
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCACertificateFile {ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
sizelimit {size_limit}
database mdb
suffix "{base}"
rootdn "{manager}"
rootpw {password}
directory {folder}/data
maxsize 10485760
dbnosync
index objectClass eq
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
"""


def person(name: str, **extra: str) -> str:
    """The entry of a person, as LDIF."""
    lines = [f"dn: uid={name},{PEOPLE}", "objectClass: inetOrgPerson", "objectClass: lockable", f"uid: {name}"]
    lines += [f"cn: {name}", f"sn: {name}", f"mail: {name}@example.org", f"userPassword: {name.lower()}-secret"]
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in extra.items()), "", ""])


CONTENT = (
    f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n\n"
    f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n\n"
    f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: groups\n\n"
    f"dn: {READER}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: reader\n"
    f"userPassword: {READER_PASSWORD}\n\n"
    + "".join(person(name) for name in ("alice", "bob", "Carol", "dora"))
    + f"dn: cn=devs,{GROUPS}\nobjectClass: groupOfNames\ncn: devs\n"
    f"member: uid=alice,{PEOPLE}\nmember: uid=bob,{PEOPLE}\n\n"
    f"dn: cn=Ops\\, Night,{GROUPS}\nobjectClass: groupOfNames\ncn: Ops, Night\nmember: uid=alice,{PEOPLE}\n\n"
    f"dn: cn=builders,{GROUPS}\nobjectClass: posixGroup\ncn: builders\ngidNumber: 100\n"
    f"memberUid: alice\nmemberUid: Carol\n\n"
)


class Slapd:
    """Starts, stops, pauses and changes one directory; use it as a context manager.

    Skips the test, loudly, where slapd is not installed.
    """

    def __init__(self) -> None:
        self._program = _find("slapd")
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="entrepot-slapd-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.tls_port = free_port(), free_port()
        self.authority: Authority = make_authority(self._folder / "tls")

    def __enter__(self) -> Slapd:
        try:
            (self._folder / "data").mkdir()
            self._configure(500)
            self.start()
            self.change(CONTENT, "-a")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Where it speaks LDAP, and StartTLS."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where it speaks LDAP inside TLS."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def misnamed_url(self) -> str:
        """The same as `url`, by an address that the certificate does not name."""
        return f"ldap://127.0.0.2:{self.port}"

    @property
    def _configuration(self) -> pathlib.Path:
        return self._folder / "slapd.conf"

    def start(self) -> None:
        """Start the server, again after `stop`, and wait until it takes connections."""
        urls = f"{self.url} {self.misnamed_url} {self.tls_url}"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # -d keeps it in the foreground.
                [*WITH_PARENT, self._program, "-f", str(self._configuration), "-h", urls, "-d", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        limit = time.monotonic() + START_LIMIT_SECONDS
        while not all(_listens(port) for port in (self.port, self.tls_port)):
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"slapd did not start:\n{(self._folder / 'log').read_text(errors='replace')}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server; nobody listens any more."""
        if self._process is not None:
            self.go_on()
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_LIMIT_SECONDS)
            self._process = None

    def hang(self) -> None:
        """From now on connections are taken by the kernel, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again, what was asked meanwhile included."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def limit(self, entries: int) -> None:
        """Start again with another limit to how many entries a search may find."""
        self.stop()
        self._configure(entries)
        self.start()

    def change(self, ldif: str, *options: str) -> None:
        """Carry out changes (`changetype: ...`) as the manager."""
        words = ["-x", "-H", self.url, "-D", MANAGER, "-w", PASSWORD, *options]
        self._run([_find("ldapmodify"), *words], ldif)

    def add(self, name: str, **extra: str) -> None:
        """Add a person."""
        self.change(person(name, **extra).replace("\nobjectClass", "\nchangetype: add\nobjectClass", 1))

    def remove(self, name: str) -> None:
        """Remove a person; the groups forget them."""
        self.change(f"dn: uid={name},{PEOPLE}\nchangetype: delete\n")

    def set(self, name: str, attribute: str, value: str) -> None:
        """Replace the values of an attribute of a person by one."""
        self.change(f"dn: uid={name},{PEOPLE}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n")

    def _configure(self, size_limit: int) -> None:
        text = CONFIGURATION.format(
            folder=self._folder,
            ca=self.authority.ca,
            certificate=self.authority.certificate,
            key=self.authority.key,
            size_limit=size_limit,
            base=BASE,
            manager=MANAGER,
            password=PASSWORD,
            reader=READER,
        )
        self._configuration.write_text(text)

    def _run(self, words: list[str], text: str) -> None:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed:\n{done.stderr}")


def _find(program: str) -> str:
    # Daemons are not in everybody's PATH.
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(INSTALL)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
