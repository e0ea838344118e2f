"""Real proxies in front: HAProxy's header before TLS and before HTTP, nginx's word about certificates; and curl."""

from __future__ import annotations

import pathlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.clients.authority import Authority as ServerAuthority
from tests.clients.machine import Machine, ended
from tests.support.certificates import Authority, uri
from tests.support.engines import Engines
from tests.support.server import ADMIN_PASSWORD, Server, free_port

pytestmark = pytest.mark.tier_a

# Loopback addresses that only the client and only the proxy come from.
CLIENT, PROXY = "127.0.0.7", "127.0.0.9"


class Site:
    """A server with a listener behind HAProxy, one with TLS behind it, one for certificates; and ports for proxies."""

    def __init__(self, folder: pathlib.Path, own: ServerAuthority, behind: dict[str, str]) -> None:
        self.own = own
        self.authority = Authority(folder)
        self.ci = self.authority.client("ci", uri("spiffe://acme/ci"))
        names = ("plain", "secure", "machines", "front", "front_v1", "front_secure", "nginx")
        self.ports = {name: free_port() for name in names}
        keys = f"certificate = '{own.certificate}'\nkey = '{own.key}'\n"
        settings = folder / "entrepot.toml"
        settings.write_text(
            f"[server]\ntrusted_proxies = ['{PROXY}']\n"
            "client_certificate_header = 'X-Client-Cert'\nclient_certificate_format = 'pem'\n"
            + "".join(
                f"[listeners.{name}]\naddress = '127.0.0.1:{self.ports[name]}'\n"
                f"proxy_protocol = true\nproxies = ['{PROXY}']\n{extra}"
                for name, extra in (("plain", ""), ("secure", keys))
            )
            + f"[listeners.machines]\naddress = '127.0.0.1:{self.ports['machines']}'\n{keys}"
            f"client_certificates = 'required'\nclient_ca = '{self.authority.file}'\n"
        )
        self.server = Server(folder / "data", environment=behind, arguments=("--config", str(settings)))

    def haproxy(self) -> str:
        """Its configuration: three front ports, all of which connect from the proxy's own address."""
        parts = ["defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"]
        for front, back, option in (
            ("front", "plain", "send-proxy-v2"),
            ("front_v1", "plain", "send-proxy"),
            ("front_secure", "secure", "send-proxy-v2"),
        ):
            target = f"127.0.0.1:{self.ports[back]} source {PROXY} {option} check check-send-proxy inter 200"
            parts.append(f"listen {front}\n bind 127.0.0.1:{self.ports[front]}\n server one {target}\n")
        return "".join(parts)

    def nginx(self, folder: pathlib.Path) -> str:
        """Its configuration: TLS with optional certificates, told in a header that it always sets."""
        return (
            f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
            f"http {{\n access_log off;\n client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n"
            f" fastcgi_temp_path {folder}/f;\n uwsgi_temp_path {folder}/u;\n scgi_temp_path {folder}/s;\n server {{\n"
            f"  listen 127.0.0.1:{self.ports['nginx']} ssl;\n"
            f"  ssl_certificate {self.own.certificate};\n  ssl_certificate_key {self.own.key};\n"
            f"  ssl_client_certificate {self.authority.file};\n  ssl_verify_client optional;\n"
            f"  location / {{\n   proxy_pass {self.server.url};\n   proxy_bind {PROXY};\n"
            "   proxy_set_header Host $http_host;\n   proxy_set_header X-Forwarded-For $remote_addr;\n"
            "   proxy_set_header X-Forwarded-Proto $scheme;\n"
            "   proxy_set_header X-Client-Cert $ssl_client_escaped_cert;\n  }\n }\n}\n"
        )


@contextmanager
def running(machine: Machine, port: int, *command: str | pathlib.Path) -> Iterator[None]:
    """A proxy that listens."""
    with ended(machine.start(*command, log=machine.home / f"{command[0]}.log")):
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: ServerAuthority, engines: Engines) -> Iterator[Site]:
    """The server and both proxies; `acme+ci` is whoever shows the certificate."""
    folder = tmp_path_factory.mktemp("proxies")
    made, machine = Site(folder, authority, engines.redirecting()), Machine(tmp_path_factory.mktemp("proxies-home"))
    with ExitStack() as stack:
        stack.enter_context(made.server)
        told = machine.write("haproxy.cfg", made.haproxy())
        stack.enter_context(running(machine, made.ports["front"], "haproxy", "-db", "-f", told))
        told = machine.write("nginx.conf", made.nginx(machine.folder("nginx")))
        stack.enter_context(running(machine, made.ports["nginx"], "nginx", "-c", told))
        api = f"{made.server.url}/api/v1"
        admin = ("-sSf", "-u", f"admin:{ADMIN_PASSWORD}", "-H", "Content-Type: application/json")
        machine.run("curl", *admin, f"{api}/service-accounts", "-d", '{"name": "ci"}')
        change = '{"certificate": "spiffe://acme/ci"}'
        machine.run("curl", *admin, "-X", "PATCH", f"{api}/service-accounts/robot$ci", "-d", change)
        time.sleep(1.5)
        yield made


def ask(machine: Machine, url: str, *words: str | pathlib.Path) -> str:
    """What curl gets, with the status in front."""
    return machine.run("curl", "-sS", "--interface", CLIENT, "-o", "-", "-w", " %{http_code}", *words, url)


@pytest.mark.parametrize("front", ["front", "front_v1", "front_secure"])
def test_haproxy_says_who_the_client_is(site: Site, machine: Machine, front: str) -> None:
    """By both versions, before HTTP and before TLS: the log has the client's address, not the proxy's."""
    scheme = "https" if front == "front_secure" else "http"
    url = f"{scheme}://localhost:{site.ports[front]}/v2/x-{front}/tags/list"
    assert ask(machine, url, "--cacert", site.own.ca).endswith(" 401")
    wanted = f'"path":"/v2/x-{front}/tags/list","status":401'
    limit = time.monotonic() + 20
    while wanted not in site.server.output():
        assert time.monotonic() < limit
        time.sleep(0.05)
    (line,) = (line for line in site.server.output().splitlines() if wanted in line)
    assert f'"client":"{CLIENT}"' in line


def test_health_checks_are_answered(site: Site) -> None:
    """HAProxy holds the servers to be up, and none of its connections was refused as malformed."""
    assert "DOWN" not in site.server.output()
    assert '"reason":"malformed"' not in site.server.output()


def test_without_haproxy_nobody_comes_in(site: Site, machine: Machine) -> None:
    """A client that goes round the proxy is closed, with a header or without."""
    url = f"http://127.0.0.1:{site.ports['plain']}/v2/"
    assert machine.refused("curl", "-sS", "--interface", CLIENT, url)
    assert machine.refused("curl", "-sS", "--interface", CLIENT, "--haproxy-protocol", url)


def test_nginx_tells_the_certificate(site: Site, machine: Machine) -> None:
    """Who shows it is the account; a header of the client's own is overwritten, and round nginx ignored."""
    url, ca = f"https://localhost:{site.ports['nginx']}/api/v1/whoami", site.own.ca
    told = ask(machine, url, "--cacert", ca, "--cert", site.ci.file)
    assert (told[:18], told[-4:]) == ('{"name":"robot$ci"', " 200")
    forged = ("-H", f"X-Client-Cert: {site.ci.pem.replace(chr(10), '%0A')}")
    assert ask(machine, url, "--cacert", ca).endswith(" 401")
    assert ask(machine, url, "--cacert", ca, *forged).endswith(" 401")
    assert ask(machine, f"{site.server.url}/api/v1/whoami", *forged).endswith(" 401")


def test_curl_shows_a_certificate_to_us(site: Site, machine: Machine) -> None:
    """At our own TLS it is the account; without it there is no connection."""
    url, ca = f"https://localhost:{site.ports['machines']}/api/v1/whoami", site.own.ca
    assert ask(machine, url, "--cacert", ca, "--cert", site.ci.file).startswith('{"name":"robot$ci"')
    assert machine.refused("curl", "-sS", "--cacert", ca, url)
