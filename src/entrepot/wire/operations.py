"""The pages of the machine room: health, readiness, metrics, the keys of tokens, and a plain front page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from entrepot.domain.errors import EntrepotError, Unavailable
from entrepot.domain.json import render_json
from entrepot.metadata.policy import get_policy_version
from entrepot.wire.context import Context
from entrepot.wire.messages import Receive, Request, Response, Scope, Send, document

# New keys are published at least two hours before they sign: time for this, and an hour in a verifier's own cache.
KEYS_SECONDS = 300
FRONT = """entrepot: a registry for container images and packages

Log in, push and pull (the first password is printed at the first start and kept in <data>/admin-password):

  podman login --tls-verify={verify} {host}
  podman push --tls-verify={verify} IMAGE {host}/library/IMAGE:TAG
  podman pull --tls-verify={verify} {host}/library/IMAGE:TAG
"""


class Operations:
    """Everything that is not a protocol of clients."""

    def __init__(
        self, context: Context, render_metrics: Callable[[], Awaitable[bytes]], is_stopping: Callable[[], bool] = bool
    ) -> None:
        self._context = context
        self._render_metrics = render_metrics
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except EntrepotError as error:
            is_away = isinstance(error, Unavailable)
            problem = _problem("UNAVAILABLE" if is_away else "UNSUPPORTED", error.message)
            response = document(503 if is_away else 400, "application/json", problem)
        await response.send(send, is_head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return document(
                405, "application/json", _problem("UNSUPPORTED", "only GET is supported here"), ("allow", "GET")
            )
        return await self._page(request)

    async def _page(self, request: Request) -> Response:
        match request.path:
            case "/healthz":
                return document(200, "application/json", b'{"status":"alive"}')
            case "/readyz":
                return await self._ready(is_full=request.query_value("full") not in {None, "0"})
            case "/metrics":
                return document(200, "text/plain; version=0.0.4; charset=utf-8", await self._render_metrics())
            case "/.well-known/jwks.json" | "/.well-known/token-certificates.pem":
                return await self._keys(request.path)
            case "/":
                return self._front(request)
        return document(404, "application/json", _problem("UNSUPPORTED", "no such page"))

    async def _ready(self, *, is_full: bool) -> Response:
        """Ready is whoever can serve pulls of manifests; `full` also looks at the store and says what is away.

        While the database is away, what is remembered may still be pulled.
        """
        registry = self._context.registry
        recall = registry.recall
        away: dict[str, str] = {}
        free_bytes: int | None = None
        try:
            await registry.database.read(get_policy_version)
        except EntrepotError as error:
            away["database"] = error.message
        probes = registry.abilities.probes
        if is_full and probes is not None:
            try:
                free_bytes = await probes.probe()
            except EntrepotError as error:
                away["store"] = error.message
        if is_full and registry.directory is not None and (reasons := registry.directory.away().values()):
            away["directory"] = "; ".join(sorted(set(reasons)))
        is_idle = "database" in away and not (recall is not None and recall.is_lasting)
        status = "away" if is_idle else "degraded" if away else "ready"
        # Requests that come are still answered; whoever balances them shall send the next ones elsewhere.
        status = "stopping" if self._is_stopping() else status
        report: dict[str, object] = {"status": status}
        if is_full:
            report |= {"away": away, "freeBytes": free_bytes}
        return document(503 if status in {"away", "stopping"} else 200, "application/json", render_json(report))

    async def _keys(self, path: str) -> Response:
        """What tokens are checked by, for whoever wants to: a JWK Set, or certificates for CNCF distribution 2."""
        policy = self._context.registry.policy
        with suppress(Unavailable):
            # Whoever was just shown a token by a new key comes to whichever worker, and keeps what it answers.
            await policy.refresh()
        headers = ("cache-control", f"public, max-age={KEYS_SECONDS}"), ("x-content-type-options", "nosniff")
        if path.endswith(".pem"):
            return document(200, "application/x-pem-file", policy.keys.certificates, *headers)
        return document(200, "application/json", policy.keys.jwks, *headers)

    def _front(self, request: Request) -> Response:
        scheme, _, host = self._context.addresses.base(request).partition("://")
        text = FRONT.format(host=host, verify="true" if scheme == "https" else "false")
        return document(200, "text/plain; charset=utf-8", text.encode(), ("x-content-type-options", "nosniff"))


def _problem(code: str, message: str) -> bytes:
    return render_json({"errors": [{"code": code, "message": message}]})
