"""Routes as data. Names may contain slashes, so a path is read from the right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from entrepot.domain.access import Action
from entrepot.domain.errors import EndpointUnknown, Unsupported
from entrepot.wire.context import Context
from entrepot.wire.messages import Request, Response

Handler = Callable[[Context, Request], Awaitable[Response]]
NAME: Final = "name"
KNOWN_PATHS: Final = 8192
# No repository and digest make a longer one: others are not worth remembering, and would fill the memory.
LONGEST_KNOWN: Final = 512


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of a route table.

    `path` is written like `/v2/{name}/blobs/{digest}`: `{name}` may contain slashes, other parameters may not.
    `needs` is the action that the guard judges before the handler runs; `challenge` is the scope that a 401
    names; `spec` is the id in the specification.
    """

    method: str
    path: str
    needs: Action
    handler: Handler
    spec: str
    challenge: str = "pull"


@dataclass(frozen=True, slots=True)
class _Node:
    names: tuple[str, ...]
    methods: dict[str, Endpoint]


class Router:
    """Finds the endpoint of a method and path among a table of them."""

    def __init__(self, prefix: str, endpoints: Sequence[Endpoint]) -> None:
        self._prefix = prefix
        self._exact: dict[str, _Node] = {}
        self._tails: dict[tuple[str | None, ...], _Node] = {}
        for endpoint in endpoints:
            self._add(endpoint)
        self._depths = sorted({len(tail) for tail in self._tails}, reverse=True)
        # The same few images are pulled again and again; nothing but the path decides.
        self._find = lru_cache(maxsize=KNOWN_PATHS)(self._find_new)

    def match(self, request: Request) -> Endpoint:
        """The endpoint of a request, whose `parameters` are filled in. Raises EndpointUnknown, Unsupported."""
        find = self._find if len(request.path) <= LONGEST_KNOWN else self._find_new
        node, parameters = find(request.path)
        if node is None:
            raise EndpointUnknown("no endpoint of the registry answers to this path", path=request.path)
        request.parameters = dict(parameters)
        endpoint = node.methods.get(request.method)
        if endpoint is None:
            raise Unsupported(f"{request.method} is not supported here", allowed=sorted(node.methods))
        return endpoint

    def _find_new(self, path: str) -> tuple[_Node | None, tuple[tuple[str, str], ...]]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact, ()
        if not path.startswith(self._prefix) or "\0" in path:
            return None, ()
        for depth in self._depths:
            head, *tail = path[len(self._prefix) :].rsplit("/", depth)
            if len(tail) != depth or not head:
                continue
            node = self._tails.get(tuple(tail)) or self._tails.get((*tail[:-1], None))
            if node is not None and (tail[-1] or not node.names):
                return node, ((NAME, head), *((name, tail[-1]) for name in node.names))
        return None, ()

    def _add(self, endpoint: Endpoint) -> None:
        if "{" not in endpoint.path:
            self._exact.setdefault(endpoint.path, _Node((), {})).methods[endpoint.method] = endpoint
            return
        lead, _, rest = endpoint.path.partition("{name}/")
        if lead != self._prefix:
            raise ValueError(f"{endpoint.path} does not begin with {self._prefix}{{name}}/")
        segments = rest.split("/")
        last = segments[-1]
        is_parameter = last.startswith("{")
        key = (*segments[:-1], None if is_parameter else last)
        names = (last[1:-1],) if is_parameter else ()
        self._tails.setdefault(key, _Node(names, {})).methods[endpoint.method] = endpoint
