"""`/login` and `/logout`: signing in with a password, the list of providers, and signing out."""

from __future__ import annotations

from entrepot.core.sessions import Opened, Way, close_session, open_session
from entrepot.core.sign_in import Typed
from entrepot.core.sign_in import sign_in as prove
from entrepot.core.sign_on import list_enabled
from entrepot.domain.access import Caller
from entrepot.domain.errors import CodeNeeded, Denied, EntrepotError, TooMany, Unauthenticated
from entrepot.web.pages import go, render
from entrepot.web.visit import SESSION, Visit, local_path
from entrepot.wire.audited import claim_by, entered, watch
from entrepot.wire.context import Context
from entrepot.wire.messages import Response


async def show(context: Context, visit: Visit) -> Response:
    """`GET /login`: the form, or for whoever is signed in who they are."""
    goal = local_path(visit.request.query_value("next") or "")
    if visit.session is None:
        return await _form(context, visit, goal)
    return render(200, "account.html", session=visit.session, csrf=visit.csrf(), said="")


async def sign_in(context: Context, visit: Visit) -> Response:
    """`POST /login`: a session for a name and a password."""
    fields = await visit.form()
    goal = local_path(fields.get("next", ""))
    name, address = fields.get("name", "").strip(), visit.browser.address
    typed = Typed(name, fields.get("password", ""), fields.get("code", "").strip(), address)
    # Another worker may have changed what signs somebody in a moment ago.
    await context.registry.policy.refresh()
    try:
        proving = _open(context, visit, typed)
        caller, opened = await watch(context, visit.request, claim_by(name, typed.password), proving)
    except (Unauthenticated, Denied, TooMany) as error:
        context.registry.trust.count_sign_in("password", "refused")
        return await _form(context, visit, goal, name, _worded(error, typed))
    entered(context, visit.request, caller)
    await visit.sign_in(opened)
    return go(goal)


async def sign_out(context: Context, visit: Visit) -> Response:
    """`POST /logout`: end the session of this browser."""
    await visit.form()
    if visit.session is not None:
        await close_session(context.registry, visit.session, visit.browser.address)
    visit.set_cookie(SESSION, "", 0)
    return go("/login")


async def _open(context: Context, visit: Visit, typed: Typed) -> tuple[Caller, Opened]:
    caller = await prove(context.registry, context.genuine, typed)
    if caller.identity is None:
        raise Unauthenticated("wrong user name or password")
    way = Way(since=caller.since, method=caller.method)
    return caller, await open_session(context.registry, caller.identity, visit.browser, way)


def _worded(error: EntrepotError, typed: Typed) -> EntrepotError:
    if isinstance(error, CodeNeeded) and not typed.code:
        # The words of the error are for clients that have no field for it.
        return CodeNeeded("this account asks for a one-time code: type your password again, and the code with it")
    return error


async def _form(
    context: Context, visit: Visit, goal: str, name: str = "", error: EntrepotError | None = None
) -> Response:
    problem = error.message if error is not None else ""
    values = {"goal": goal, "name": name[:100], "problem": problem}
    providers = await list_enabled(context.registry)
    if isinstance(error, TooMany):
        page = render(429, "login.html", csrf=visit.csrf(), providers=providers, **values)
        page.headers.append((b"retry-after", str(error.detail.get("retry_after", 1)).encode()))
        return page
    return render(403 if problem else 200, "login.html", csrf=visit.csrf(), providers=providers, **values)
