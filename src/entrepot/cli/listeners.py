"""The listeners that the settings describe: their sockets, and the files of their certificates."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from entrepot.cli.places import open_listener
from entrepot.settings import Listener, Settings
from entrepot.settings_sense import MAIN, parse_listen

ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


@dataclass(frozen=True)
class Place:
    """One listener as the parent holds it; `files` are certificate and key, None where nothing is encrypted."""

    name: str
    settings: Listener
    socket: socket.socket
    files: tuple[str, str] | None

    @property
    def url(self) -> str:
        """Where somebody on this machine finds it."""
        host, port = parse_listen(self.settings.address)
        shown = "localhost" if host in ANY_ADDRESS else f"[{host}]" if ":" in host else host
        return f"{'https' if self.files else 'http'}://{shown}:{port}"


@dataclass(frozen=True)
class Certificates:
    """What `tls` says: certificate and key, and for `tls.auto` the authority that clients are to trust."""

    files: tuple[str, str] | None = None
    ca: str | None = None


def open_sockets(settings: Settings) -> dict[str, socket.socket]:
    """A listening socket for each listener. Raises SettingsError."""
    sockets = {}
    for name, listener in settings.all_listeners.items():
        key = "server.listen" if name == MAIN else f"listeners.{name}.address"
        sockets[name] = open_listener(*parse_listen(listener.address, key), key)
    return sockets


def find_places(settings: Settings, sockets: dict[str, socket.socket], inherited: Certificates) -> list[Place]:
    """Every listener with what is spoken there."""
    found = []
    for name, listener in settings.all_listeners.items():
        own = (listener.certificate, listener.key) if listener.certificate else None
        files = None if listener.tls == "off" else own or inherited.files
        found.append(Place(name, listener, sockets[name], files))
    return found


def prepare(settings: Settings) -> Certificates:
    """The certificate that listeners inherit; with `tls.auto`, made or made again where it is time to."""
    if settings.tls.certificate:
        return Certificates((settings.tls.certificate, settings.tls.key))
    if not settings.tls.auto:
        return Certificates()
    from entrepot.cli.certificates import TRUST, prepare_certificates  # noqa: PLC0415 - only HTTPS needs it

    listeners = settings.all_listeners.values()
    urls = [settings.server.public_url, *(listener.public_url for listener in listeners)]
    hosts = [parse_listen(listener.address)[0] for listener in listeners]
    hosts += [host for host in (urlsplit(url).hostname for url in urls) if host]
    files = prepare_certificates(settings.data_path, hosts)
    host, port = parse_listen(settings.server.listen)
    shown = "localhost" if host in ANY_ADDRESS else f"[{host}]" if ":" in host else host
    print(TRUST.format(ca=files.ca, host=urlsplit(settings.server.public_url).netloc or f"{shown}:{port}"), flush=True)
    return Certificates((str(files.certificate), str(files.key)), str(files.ca))
