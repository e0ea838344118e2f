"""Clients that carry the Authorization header to wherever a redirect leads.

A store refuses what is signed twice ("Only one auth mechanism allowed"), and a registry's token is nothing that a store
should see: these clients are never redirected. Most others go by names: Go's net/http, and so docker, containerd and
podman, keeps the header where the store's host is the registry's or one below it, on whatever port (moby/moby#50065,
golang/go#35104).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec


class Forwarding(msgspec.Struct, frozen=True):
    """One kind of client: what its User-Agent begins with (a regular expression), and where this was reported."""

    agent: str
    issue: str
    what: str


FORWARDING: Final = (
    Forwarding(r"Python-urllib/", "python/cpython#77842", "scripts with Python's urllib, Singularity 2"),
    Forwarding(
        r"curl/(?:[0-6]|7\.(?:\d|[1-4]\d|5[0-7]))\.", "indigo-dc/udocker#110", "curl before 7.58, by CVE-2018-1000007"
    ),
    Forwarding(r"containerd/\S*\+unknown", "open-policy-agent/opa#6580", "containerd's library inside other programs"),
    Forwarding(r"(?:\S+ )*azsdk-js-container-registry/", "Azure/azure-sdk-for-js#20957", "Azure's SDK for JavaScript"),
    Forwarding(r"Apache-HttpClient/", "spring-attic/spring-cloud-dataflow#4065", "Java programs with Apache's client"),
)
_FORWARDS: Final = re.compile("|".join(f"(?:{known.agent})" for known in FORWARDING))


def is_forwarding(agent: str) -> bool:
    """Whether a client with this User-Agent is known to send credentials on to other hosts."""
    return _FORWARDS.match(agent) is not None


def is_below(store: str, registry: str) -> bool:
    """Whether a store's host name is the registry's own or one below it, whatever the ports are."""
    store, registry = store.lower().rstrip("."), registry.lower().rstrip(".")
    return store == registry or store.endswith(f".{registry}")
