"""One conversation with one LDAP server, in a thread: bind, search, prove a password. Nothing of it outlives a call."""

from __future__ import annotations

import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import ldap3
import msgspec
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from pyasn1.error import PyAsn1Error

from entrepot.domain.directory import Group, Person
from entrepot.domain.errors import Unavailable

T = TypeVar("T")

PORTS: Final = {"ldap": 389, "ldaps": 636}
SUCCESS: Final = 0
SIZE_LIMIT: Final = 4
NO_SUCH_OBJECT: Final = 32
# RFC 4511, appendix A.2: what a server says of a name and password; everything else is about the server.
NOT_PROVEN: Final = frozenset({19, 32, 34, 48, 49, 50, 53})
# Two are enough to see that a name is not of one person.
MOST_ENTRIES: Final = 2
# What a directory never gives to a second entry (RFC 4530; Active Directory; 389; FreeIPA).
IDS: Final = ("entryuuid", "objectguid", "nsuniqueid", "ipauniqueid")
# What says that an entry may not log in: Active Directory, 389 and FreeIPA, OpenLDAP's password policy.
LOCKS: Final = ("useraccountcontrol", "nsaccountlock", "pwdaccountlockedtime")
ACCOUNT_DISABLED: Final = 2
LOCKED_FOR_EVER: Final = b"000001010000Z"
PLACEHOLDER: Final = re.compile(r"\{(name|dn)\}")
FIRST_NAME: Final = re.compile(r"(?i)cn=((?:\\.|[^\\,+])*)")
# A server that speaks something else makes the codec fail in any of these ways.
GARBLED: Final = (PyAsn1Error, ValueError, TypeError, LookupError, AttributeError)


class LdapOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say of the directory; see docs/settings.md."""

    urls: tuple[str, ...]
    bind_dn: str = ""
    bind_password: str = ""
    base: str
    user_filter: str
    name_attribute: str
    email_attribute: str = ""
    member_attribute: str = ""
    group_base: str = ""
    group_filter: str = ""
    ca: str = ""
    start_tls: bool = True
    timeout_seconds: float = 2.5


class _Entry(msgspec.Struct, frozen=True):
    """An entry as it came; attributes by their names in small letters."""

    dn: str
    attributes: Mapping[str, list[bytes]]

    def text(self, attribute: str) -> str:
        """The first value of an attribute, or nothing."""
        values = self.attributes.get(attribute.lower()) or [b""]
        return values[0].decode("utf-8", "replace")

    def texts(self, attribute: str) -> list[str]:
        """Every value of an attribute."""
        return [value.decode("utf-8", "replace") for value in self.attributes.get(attribute.lower(), [])]


class _Tls(ldap3.Tls):
    """TLS as Python does it by default, host name included, within the socket's time limit."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context
        self._host = host

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        del do_handshake
        _send_at_once(connection.socket)
        wrapped = self._context.wrap_socket(
            connection.socket, server_hostname=self._host, do_handshake_on_connect=False
        )
        # Where whoever gives up waiting finds it, before anything is waited for.
        connection.socket = wrapped
        wrapped.do_handshake()


class Session:
    """One connection, bound as the service account. Each call raises Unavailable when the server does not do its work.

    `abandon` may be called by another thread, and makes whatever waits for the server end.
    """

    def __init__(self, options: LdapOptions, url: str, context: ssl.SSLContext, seconds: float) -> None:
        self._options = options
        self._deadline = time.monotonic() + seconds
        self.has_begun = False
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_ldaps = parts.scheme == "ldaps"
        self._is_upgraded = options.start_tls and not is_ldaps
        server = ldap3.Server(
            host,
            parts.port or PORTS[parts.scheme],
            use_ssl=is_ldaps,
            tls=_Tls(context, host),
            get_info=ldap3.NONE,
            connect_timeout=seconds,
        )
        self._connection = ldap3.Connection(
            server,
            read_only=True,
            check_names=False,
            # A referral names any host at all: the password is for the servers of the settings alone.
            auto_referrals=False,
        )

    def log_in(self, name: str, password: str) -> Person | None:
        """Search, bind as what was found, and read its groups; None unless the password is theirs."""
        return self._guarded(lambda: self._log_in(name, password))

    def find(self, names: Sequence[str]) -> dict[str, Person]:
        """Those of these names that are there, each under the name that it was asked by."""
        return self._guarded(lambda: self._find(names))

    def abandon(self) -> None:
        """End whatever waits for the server."""
        waiting = self._connection.socket
        if waiting is not None:
            with suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def _guarded(self, work: Callable[[], T]) -> T:
        self.has_begun = True
        try:
            return work()
        except (LDAPException, OSError) as error:
            # The library tells a time limit of the socket as a failure of whatever it was doing then.
            is_late = isinstance(error, TimeoutError) or time.monotonic() >= self._deadline
            text = self._connection.last_error or str(error) or type(error).__name__
            raise Unavailable("it does not answer" if is_late or "timed out" in text else text) from None
        except GARBLED:
            raise Unavailable("it does not speak LDAP") from None
        finally:
            self._close()

    def _close(self) -> None:
        opened = self._connection.socket
        with suppress(LDAPException, OSError, *GARBLED):
            self._connection.strategy.close()
        if opened is not None:
            # What did not get as far as a connection is left open by the library.
            opened.close()

    def _log_in(self, name: str, password: str) -> Person | None:
        self._open()
        entry = self._search_person(name)
        if entry is None or _is_disabled(entry) or not self._is_password_of(entry, password):
            return None
        self._bind()
        return self._person(entry)

    def _find(self, names: Sequence[str]) -> dict[str, Person]:
        self._open()
        found = {}
        for name in names:
            entry = self._search_person(name)
            person = self._person(entry) if entry is not None else None
            if person is not None and person.name == name:
                found[name] = person
        return found

    def _open(self) -> None:
        self._connection.open(read_server_info=False)
        _send_at_once(self._connection.socket)
        if self._is_upgraded:
            self._allot()
            self._connection.start_tls(read_server_info=False)
        self._bind()

    def _bind(self) -> None:
        user, password = self._options.bind_dn, self._options.bind_password.encode()
        self._allot()
        if user:
            self._connection.rebind(user, password, read_server_info=False)
        else:
            self._connection.rebind(authentication=ldap3.ANONYMOUS, read_server_info=False)
        if self._connection.result["result"] != SUCCESS:
            _refuse(f"it refuses ldap.bind_dn: {self._connection.result['description']}")

    def _is_password_of(self, entry: _Entry, password: str) -> bool:
        self._allot()
        self._connection.rebind(entry.dn, password.encode(), read_server_info=False)
        code = self._connection.result["result"]
        if code not in NOT_PROVEN and code != SUCCESS:
            _refuse(f"it does not check passwords: {self._connection.result['description']}")
        return bool(code == SUCCESS)

    def _search_person(self, name: str) -> _Entry | None:
        options = self._options
        wanted = {options.name_attribute, options.email_attribute, options.member_attribute, *IDS, *LOCKS} - {""}
        condition = fill(options.user_filter, name=name)
        found = self._search(options.base, condition, sorted(wanted), "ldap.base", MOST_ENTRIES)
        # A bind without a name is a bind as nobody.
        return found[0] if len(found) == 1 and found[0].dn else None

    def _person(self, entry: _Entry) -> Person | None:
        name = entry.text(self._options.name_attribute)
        if not name:
            return None
        ids = [entry.attributes[attribute][0] for attribute in IDS if entry.attributes.get(attribute)]
        return Person(
            name.lower(),
            entry.dn,
            entry.text(self._options.email_attribute) if self._options.email_attribute else "",
            tuple(self._groups(entry, name)),
            _text_or_hex(ids[0]) if ids else "",
            _is_disabled(entry),
        )

    def _groups(self, entry: _Entry, name: str) -> Iterator[Group]:
        options = self._options
        if options.member_attribute:
            for dn in entry.texts(options.member_attribute):
                first = FIRST_NAME.match(dn)
                yield Group(dn, first[1] if first else "")
        if options.group_filter:
            condition = fill(options.group_filter, name=name, dn=entry.dn)
            for group in self._search(options.group_base or options.base, condition, ["cn"], "ldap.group_base"):
                yield Group(group.dn, group.text("cn"))

    def _search(self, base: str, condition: str, attributes: list[str], key: str, limit: int = 0) -> list[_Entry]:
        seconds = self._allot()
        self._connection.search(
            base,
            condition,
            ldap3.SUBTREE,
            ldap3.DEREF_NEVER,
            attributes=attributes,
            size_limit=limit,
            time_limit=math.ceil(seconds),
        )
        code, text = self._connection.result["result"], self._connection.result["description"]
        if code == NO_SUCH_OBJECT:
            _refuse(f"it has no {key}, or does not show it to ldap.bind_dn")
        if code != SUCCESS and not (limit and code == SIZE_LIMIT):
            _refuse(f"it does not search {key}: {text}")
        return [_entry(found) for found in self._connection.response or [] if found["type"] == "searchResEntry"]

    def _allot(self) -> float:
        """Give what is left of the time to the next step."""
        left = self._deadline - time.monotonic()
        waiting = self._connection.socket
        if left <= 0 or waiting is None:
            raise TimeoutError
        waiting.settimeout(left)
        return left


def fill(condition: str, **values: str) -> str:
    """A filter with its placeholders replaced by values that mean nothing in a filter (RFC 4515, section 3)."""
    return PLACEHOLDER.sub(lambda match: str(escape_filter_chars(values[match[1]])), condition)


def _entry(found: Mapping[str, Any]) -> _Entry:
    return _Entry(found["dn"], {name.lower(): list(values) for name, values in found["raw_attributes"].items()})


def _is_disabled(entry: _Entry) -> bool:
    control, lock = entry.text(LOCKS[0]), entry.text(LOCKS[1])
    is_off = control.lstrip("-").isdecimal() and bool(int(control) & ACCOUNT_DISABLED)
    return is_off or lock.lower() == "true" or LOCKED_FOR_EVER in entry.attributes.get(LOCKS[2], [])


def _text_or_hex(value: bytes) -> str:
    text = value.decode("ascii", "replace")
    return text.lower() if text.isprintable() and "\ufffd" not in text else value.hex()


def _send_at_once(opened: socket.socket) -> None:
    # A login is small messages in turn: held back to be sent together, some would wait for 40 ms.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _refuse(reason: str) -> NoReturn:
    raise Unavailable(reason)
