"""Whole pulls and pushes of images, with the requests that docker, podman and skopeo send."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from bench.client import Connection, Operation
from bench.context import KIB, Bench
from bench.crowd import Crowd
from bench.images import ACCEPT, Caller, Image, Steps, Stock, bearer_in
from bench.load import Outcome
from bench.measure import Line, median
from bench.rows import Row
from bench.servers import Registry, TokenService

PULLERS = 16
PULL_CPU_SECONDS = 2.0
MANY_LAYERS = 127
MANY_CLIENTS = 4


@dataclasses.dataclass(frozen=True)
class Pull:
    """One image pulled as docker does: ping, token, HEAD, index, manifest, blobs; a connection for each request."""

    image: Image
    service: TokenService

    def __call__(self, caller: Caller) -> Operation:
        """The operation of one client."""
        root = f"/v2/{self.image.repository}"
        accept = f"Accept: {ACCEPT}\r\n"
        anonymous = dataclasses.replace(caller, authorization="")
        ping = anonymous.head("GET", "/v2/")
        token_connection = Connection(caller.connection.engine, ("127.0.0.1", self.service.port))
        token_request = self.service.request()

        def pull() -> Steps[None]:
            yield from caller.call(ping, 401)
            reply = yield from token_connection.exchange(token_request, 200, keep=True)
            token_connection.close()
            bearer = dataclasses.replace(caller, authorization=bearer_in(reply))
            yield from caller.call(bearer.head("HEAD", f"{root}/manifests/latest", accept), 200)
            index = yield from caller.call(bearer.head("GET", f"{root}/manifests/latest", accept), 200, keep=True)
            digest = json.loads(index.body)["manifests"][0]["digest"]
            yield from caller.call(bearer.head("GET", f"{root}/manifests/{digest}", accept), 200)
            for blob in self.image.blobs:
                yield from caller.call(bearer.head("GET", f"{root}/blobs/{blob}"), 200)

        return pull


def pulling(bench: Bench, registry: Registry, image: Image, clients: int) -> Outcome:
    """Pull one image again and again."""
    service = registry.token_service(f"repository:{image.repository}:pull")
    return Crowd(registry, "", clients, close=True).for_seconds(bench.seconds, Pull(image, service))


def small(bench: Bench) -> Iterator[Line]:
    """An image of ten small layers: what a pull costs besides its bytes."""

    def load(registry: Registry) -> Outcome:
        return pulling(bench, registry, bench.small_image(registry), PULLERS)

    ours, theirs = bench.versus(bench.registries, load)
    line = Line("pull", "10 layers of 10 KiB, pulls", ">= 6x, <= 2 CPU-s/1,000", ours=ours, theirs=theirs)
    cpu = median(ours, "cpu_per_1000")
    yield line.at_least(6).require(f"{cpu:.2f} CPU-s of {PULL_CPU_SECONDS:g}", holds=cpu <= PULL_CPU_SECONDS)


def pushing(bench: Bench, registry: Registry) -> Outcome:
    """Push images of 127 new layers: HEAD, POST, PATCH, PUT for each, a connection for each request."""
    repository = "bench/layers127"
    stock = Stock(4 * KIB)

    def prepare(caller: Caller) -> Operation:
        def push() -> Steps[None]:
            layers = [stock.take() for _ in range(MANY_LAYERS)]
            for layer in layers:
                yield from caller.call(caller.head("HEAD", f"/v2/{repository}/blobs/{layer.digest}"), 404)
            yield from caller.push_image(repository, "pushed", layers)

        return push

    authorization = registry.bearer(f"repository:{repository}:pull,push")
    return Crowd(registry, authorization, bench.sized(1, MANY_CLIENTS), close=True).for_seconds(bench.seconds, prepare)


def layers127(bench: Bench) -> Iterator[Line]:
    """The image with the most layers that docker makes."""
    what = f"{MANY_LAYERS} layers of 4 KiB"
    ours, theirs = bench.versus(bench.registries, lambda side: pushing(bench, side))
    yield Line("layers127", f"{what}, pushes", ">= 5x", ours=ours, theirs=theirs).at_least(5)

    def pull(registry: Registry) -> Outcome:
        stock = Stock(4 * KIB)
        image = bench.image(registry, "layers127", lambda: [stock.take() for _ in range(MANY_LAYERS)])
        return pulling(bench, registry, image, MANY_CLIENTS)

    ours, theirs = bench.versus(bench.registries, pull)
    yield Line("layers127", f"{what}, pulls", ">= 6x", ours=ours, theirs=theirs).at_least(6)


ROWS = (
    Row("pull", "whole pull of 10 layers of 10 KiB", small),
    Row("layers127", "image of 127 layers of 4 KiB", layers127),
)
