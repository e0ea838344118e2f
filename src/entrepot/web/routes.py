"""The route table of the pages. What somebody must be signed in for, the handlers ask of the visit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from entrepot.web import devices, sign_in, sign_on, static
from entrepot.web.visit import Visit
from entrepot.wire.context import Context
from entrepot.wire.messages import Response

Handler = Callable[[Context, Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row. What is for programs answers errors as JSON, and looks at no cookie; what is a file is not limited."""

    method: str
    path: str
    handler: Handler
    is_for_programs: bool = False
    is_file: bool = False


ENDPOINTS: Final = [
    Endpoint("GET", "/login", sign_in.show),
    Endpoint("POST", "/login", sign_in.sign_in),
    Endpoint("POST", "/logout", sign_in.sign_out),
    Endpoint("GET", "/login/oidc/{provider}", sign_on.leave),
    Endpoint("GET", "/login/oidc/{provider}/callback", sign_on.come_back),
    Endpoint("GET", "/login/device", devices.show),
    Endpoint("POST", "/login/device", devices.look),
    Endpoint("POST", "/login/device/confirm", devices.decide),
    Endpoint("POST", "/login/device/code", devices.begin, is_for_programs=True),
    Endpoint("POST", "/login/device/token", devices.redeem, is_for_programs=True),
    Endpoint("GET", "/static/style.css", static.style, is_file=True),
]
