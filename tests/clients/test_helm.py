"""Helm 3 and Helm 4: charts as OCI artifacts."""

from __future__ import annotations

import pathlib
import random

import pytest

from tests.clients.images import NOISE_BYTES
from tests.clients.machine import Machine
from tests.clients.target import Registry

pytestmark = [pytest.mark.tier_a, pytest.mark.parametrize("helm", ["helm3", "helm4"])]
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"


def door(registry: Registry) -> list[str]:
    """The flags that make Helm accept this door."""
    return ["--ca-file", str(registry.ca)] if registry.ca else ["--plain-http"]


def login_door(helm: str, registry: Registry) -> list[str]:
    """The same for `registry login`, which in Helm 3 takes plain HTTP for loopback addresses without being told."""
    return [] if helm == "helm3" and not registry.ca else door(registry)


def named(machine: Machine, helm: str, registry: Registry) -> Registry:
    """Over TLS Helm 3 needs a name: it always speaks plain HTTP to loopback addresses."""
    if helm == "helm4" or not registry.ca:
        return registry
    machine.call_by_name("registry.test")
    return registry.at("registry.test")


def log_in(machine: Machine, helm: str, registry: Registry) -> None:
    """Log Helm in."""
    who = ["-u", registry.user, "--password-stdin"]
    machine.run(helm, "registry", "login", *login_door(helm, registry), *who, registry.host, stdin=registry.password)


def package(machine: Machine, helm: str, version: str, name: str = "demo") -> pathlib.Path:
    """Make a chart and package it, so large that an object store sends it to clients by itself."""
    machine.write(
        f"{name}/Chart.yaml",
        f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: '1'\ndescription: A demonstration\n"
        "annotations:\n  dev.example/note: kept\n",
    )
    machine.write(f"{name}/values.yaml", "greeting: hello\n")
    machine.write(f"{name}/files/noise", random.Random(f"{name}-{version}").randbytes(NOISE_BYTES))
    machine.write(
        f"{name}/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {word: {{ .Values.greeting }}}\n",
    )
    machine.run(helm, "package", machine.home / name, "-d", machine.folder("packages"))
    return machine.home / "packages" / f"{name}-{version}.tgz"


def test_push_and_pull(machine: Machine, either: Registry, repository: str, helm: str) -> None:
    """A chart comes back byte for byte, stored with Helm's media types and its annotations."""
    called = named(machine, helm, either)
    log_in(machine, helm, called)
    chart = package(machine, helm, "0.1.0")
    machine.run(helm, "push", *door(called), chart, f"oci://{called.host}/{repository}")
    manifest = either.manifest(f"{repository}/demo", "0.1.0").json()
    assert manifest["config"]["mediaType"] == CONFIG
    assert [layer["mediaType"] for layer in manifest["layers"]] == [CHART]
    assert manifest["annotations"]["dev.example/note"] == "kept"
    reference = f"oci://{called.host}/{repository}/demo"
    machine.run(helm, "pull", *door(called), reference, "--version", "0.1.0", "-d", machine.folder("pulled"))
    assert (machine.home / "pulled" / chart.name).read_bytes() == chart.read_bytes()


def test_newest_version_by_tags(machine: Machine, registry: Registry, repository: str, helm: str) -> None:
    """Without an exact version Helm reads the tags and takes the newest that fits; `+` is a `_` in the tag."""
    log_in(machine, helm, registry)
    for version in ("1.2.0", "1.10.0", "2.0.0-rc1", "1.10.1+build5"):
        machine.run(
            helm, "push", *door(registry), package(machine, helm, version), f"oci://{registry.host}/{repository}"
        )
    assert registry.tags(f"{repository}/demo") == ["1.10.0", "1.10.1_build5", "1.2.0", "2.0.0-rc1"]
    reference = f"oci://{registry.host}/{repository}/demo"
    shown = machine.run(helm, "show", "chart", *door(registry), reference)
    assert "version: 1.10.1+build5" in shown
    shown = machine.run(helm, "show", "chart", *door(registry), reference, "--version", "~1.2")
    assert "version: 1.2.0" in shown


def test_template_from_the_registry(machine: Machine, either: Registry, repository: str, helm: str) -> None:
    """`helm template` and `show values` work on the chart in the registry."""
    called = named(machine, helm, either)
    log_in(machine, helm, called)
    machine.run(helm, "push", *door(called), package(machine, helm, "0.1.0"), f"oci://{called.host}/{repository}")
    reference = [f"oci://{called.host}/{repository}/demo", "--version", "0.1.0"]
    rendered = machine.run(helm, "template", "release", *door(called), *reference, "--set", "greeting=salut")
    assert "word: salut" in rendered
    assert machine.run(helm, "show", "values", *door(called), *reference).strip() == "greeting: hello"


def test_dependency_from_the_registry(machine: Machine, registry: Registry, repository: str, helm: str) -> None:
    """A chart that depends on a chart of the registry fetches it."""
    log_in(machine, helm, registry)
    part = package(machine, helm, "0.1.0", "part")
    machine.run(helm, "push", *door(registry), part, f"oci://{registry.host}/{repository}")
    machine.write(
        "whole/Chart.yaml",
        "apiVersion: v2\nname: whole\nversion: 1.0.0\ndependencies:\n"
        f"- name: part\n  version: 0.1.0\n  repository: oci://{registry.host}/{repository}\n",
    )
    machine.run(helm, "dependency", "update", *door(registry), machine.home / "whole")
    assert (machine.home / "whole" / "charts" / part.name).read_bytes() == part.read_bytes()


def test_provenance_travels_with_the_chart(machine: Machine, registry: Registry, repository: str, helm: str) -> None:
    """A provenance file beside the chart is pushed as a layer of its own and pulled with `--prov`."""
    log_in(machine, helm, registry)
    chart = package(machine, helm, "0.1.0")
    signed = machine.write(f"packages/{chart.name}.prov", "-----BEGIN PGP SIGNED MESSAGE-----\nnot checked here\n")
    machine.run(helm, "push", *door(registry), chart, f"oci://{registry.host}/{repository}")
    layers = registry.manifest(f"{repository}/demo", "0.1.0").json()["layers"]
    assert {layer["mediaType"] for layer in layers} == {CHART, PROVENANCE}
    reference = [f"oci://{registry.host}/{repository}/demo", "--version", "0.1.0"]
    machine.run(helm, "pull", *door(registry), *reference, "--prov", "-d", machine.folder("pulled"))
    assert (machine.home / "pulled" / signed.name).read_bytes() == signed.read_bytes()


def test_push_again(machine: Machine, registry: Registry, repository: str, helm: str) -> None:
    """The same chart can be pushed twice; the second time finds it there."""
    log_in(machine, helm, registry)
    chart = package(machine, helm, "0.1.0")
    for _ in range(2):
        machine.run(helm, "push", *door(registry), chart, f"oci://{registry.host}/{repository}")
    assert registry.tags(f"{repository}/demo") == ["0.1.0"]


def test_login_refused_and_logout(machine: Machine, either: Registry, repository: str, helm: str) -> None:
    """A wrong password is refused at login, and after logout a push is."""
    called = named(machine, helm, either)
    words = ["registry", "login", *login_door(helm, called), "-u", called.user, "-p", "wrong", called.host]
    machine.refused(helm, *words)
    log_in(machine, helm, called)
    machine.run(helm, "registry", "logout", called.host)
    chart = package(machine, helm, "0.1.0")
    machine.refused(helm, "push", *door(called), chart, f"oci://{called.host}/{repository}")


def test_unknown_authority_is_refused(machine: Machine, secure: Registry, repository: str, helm: str) -> None:
    """Without the private authority's certificate Helm refuses the server."""
    called = named(machine, helm, secure)
    said = machine.refused(helm, "pull", f"oci://{called.host}/{repository}/demo", "--version", "0.1.0")
    assert "certificate signed by unknown authority" in said
