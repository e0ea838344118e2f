"""What the rows share: the folder, the length of a round, servers started at first need, images pushed once."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar

from bench.images import ACCEPT, Body, Image, body_of, file_body, put_image, write_large_file
from bench.load import Outcome, Wrk, wrk
from bench.measure import Quiet, Sample, interleave, measure
from bench.servers import Distribution, Entrepot, Nginx, Receiver, Registry, Target
from bench.tokens import Minter, server_certificate

KIB, MIB, GIB = 1024, 1 << 20, 1 << 30
LARGE_BYTES = 100 * MIB
SAMPLE_SECONDS = 0.1
AnyTarget = TypeVar("AnyTarget", bound=Target)
AnyCommand = TypeVar("AnyCommand", Entrepot, Nginx, Distribution, Receiver)


class Bench:
    """One run of the benchmark."""

    def __init__(self, folder: pathlib.Path, rounds: int, seconds: float, *, is_quick: bool) -> None:
        self.folder = folder
        self.quiet = Quiet(0)
        self.rounds = rounds
        self.seconds = seconds
        self.is_quick = is_quick
        self.stack = contextlib.ExitStack()
        self.images: dict[tuple[str, str], Image] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stack.close()

    def sized(self, quick: int, full: int) -> int:
        """A number that depends on the length of the run."""
        return quick if self.is_quick else full

    @functools.cached_property
    def certificate(self) -> tuple[pathlib.Path, pathlib.Path]:
        """What both servers show in the TLS row."""
        return server_certificate(self.folder)

    @functools.cached_property
    def minter(self) -> Minter:
        """Signs distribution's tokens."""
        return Minter(self.folder)

    @functools.cached_property
    def nginx(self) -> Nginx:
        """nginx: the limit for downloads, and distribution's token service."""
        return self.keep(Nginx(self.folder / "nginx"))

    @functools.cached_property
    def entrepot(self) -> Entrepot:
        """Entrepot at its default settings."""
        return self.keep(Entrepot(self.folder / "entrepot"))

    @functools.cached_property
    def distribution(self) -> Distribution:
        """CNCF distribution."""
        return self.keep(Distribution(self.folder / "distribution", self.minter, self.nginx))

    @functools.cached_property
    def receiver(self) -> Receiver:
        """The reference receiver."""
        return self.keep(Receiver(self.folder / "receiver"))

    @functools.cached_property
    def tls_registries(self) -> tuple[Registry, Registry]:
        """Both registries with the same certificate."""
        ours = self.keep(Entrepot(self.folder / "entrepot-tls", certificate=self.certificate))
        theirs = Distribution(self.folder / "distribution-tls", self.minter, self.nginx, self.certificate)
        return ours, self.keep(theirs)

    @functools.cached_property
    def tls_nginx(self) -> Nginx:
        """nginx with the same certificate: the limit for connections of a handshake each."""
        return self.keep(Nginx(self.folder / "nginx-tls", self.certificate))

    @property
    def registries(self) -> tuple[Registry, Registry]:
        """Ours and theirs."""
        return self.entrepot, self.distribution

    def keep(self, target: AnyCommand) -> AnyCommand:
        """Stop this server at the end of the run."""
        self.stack.callback(target.stop)
        return target

    @contextlib.contextmanager
    def fresh(self, name: str, **environment: str) -> Iterator[Entrepot]:
        """An Entrepot of its own on new data, for rows that must not find what others left."""
        server = Entrepot(self.folder / name, environment=environment)
        try:
            yield server
        finally:
            server.stop()

    def forget(self, name: str) -> None:
        """Remove the data of a server that has ended, so that the disk holds one row's data and not all."""
        shutil.rmtree(self.folder / name)

    @functools.cached_property
    def large_file(self) -> pathlib.Path:
        """100 MiB that nginx serves and the others have been pushed."""
        path = self.nginx.root / "large"
        self.large_digest = write_large_file(path, LARGE_BYTES)
        return path

    def image(self, registry: Registry, name: str, layers: Callable[[], list[Body]]) -> Image:
        """An image that is pushed to this registry the first time it is asked for."""
        key = (f"{registry.name}:{registry.port}", name)
        if key not in self.images:
            self.images[key] = put_image(registry, f"bench/{name}", layers())
        return self.images[key]

    def small_image(self, registry: Registry) -> Image:
        """Ten layers of 10 KiB."""
        return self.image(registry, "small", lambda: [body_of(bytes([n]) * 10 * KIB) for n in range(10)])

    def public_image(self, registry: Registry) -> Image:
        """The same in a namespace from which anybody pulls."""
        key = (f"{registry.name}:{registry.port}", "public")
        if key not in self.images:
            layers = [body_of(bytes([n]) * 10 * KIB) for n in range(10)]
            self.images[key] = put_image(registry, "open/small", layers)
        return self.images[key]

    def large_image(self, registry: Registry) -> Image:
        """One layer of 100 MiB."""
        file = self.large_file
        return self.image(registry, "large", lambda: [file_body(file, self.large_digest)])

    def versus(self, sides: Sequence[AnyTarget], load: Callable[[AnyTarget], Outcome]) -> list[list[Sample]]:
        """The same load against each side, interleaved."""

        def one(side: AnyTarget) -> Callable[[], Sample]:
            return lambda: self.measure(side, lambda: load(side))

        return interleave(self.rounds, [one(side) for side in sides])

    def measure(self, target: Target, load: Callable[[], Outcome]) -> Sample:
        """One measurement, when the machine is quiet or patience is at its end."""
        self.quiet.wait()
        return measure(target, load)

    def wrk(self, target: Registry, path: str, *, close: bool = False) -> Outcome:
        """wrk with 32 connections for one round's length."""
        repository = path.split("/v2/")[1].rsplit("/", 2)[0]
        authorization = target.bearer(f"repository:{repository}:pull")
        url = f"http://127.0.0.1:{target.port}{path}"
        return wrk(Wrk(url, authorization, self.seconds, accept=ACCEPT, close=close))


class PeakPss:
    """The highest memory of a server while something runs."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.before = target.pss()
        self.peak = self.before
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.target.pss())

    @property
    def added(self) -> float:
        """MiB above where it began."""
        return self.peak - self.before
