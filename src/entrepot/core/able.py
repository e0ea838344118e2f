"""Who may do something: by an office or a grant, where, under which conditions, and except where."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from entrepot.core.decide import MAKING, TAGLESS, is_elsewhere
from entrepot.core.explain import (
    ADMINISTRATOR,
    OWN_NAME,
    PUBLIC,
    describe_grant,
    limits_of,
    patronage,
    require_administration,
)
from entrepot.core.listing import Page
from entrepot.core.registry import Registry
from entrepot.domain.access import Action, Caller, Origin
from entrepot.domain.grants import ASKS, EVERYONE, OF_TAGS, SIGNED_IN, UNDENIABLE, Conditions, Grant, Subject
from entrepot.domain.patterns import contains, is_pattern, matches, overlap
from entrepot.domain.places import Place, is_within, meet, parse_range, place_of, touches
from entrepot.domain.policy import OPERATOR, AccountPolicy, PolicySnapshot
from entrepot.domain.subjects import subject_of

T = TypeVar("T")

# Groups come before all names; no name begins so.
GROUPS: Final[tuple[tuple[str, Subject], ...]] = (("!everyone", EVERYONE), ("!signed-in", SIGNED_IN))
MOST_TOLD: Final = 100
UNCONDITIONAL: Final = Conditions()


class Inquiry(msgspec.Struct, frozen=True):
    """Who may do this to that: a place, or a pattern of them, perhaps with a tag.

    `given` names what of the origin is asked about (`address`, `now`, `client`, `listener`): conditions about it are
    judged. All others are told, but for times that are over.
    """

    action: Action
    resource: str
    origin: Origin
    given: frozenset[str] = frozenset()


class Able(msgspec.Struct, frozen=True):
    """Somebody who may, through what, and except where.

    `where` is what was asked about if something allows all of it (`everywhere`), else the parts that are allowed.
    """

    who: str
    subject: str
    everywhere: bool
    where: tuple[str, ...]
    through: tuple[str, ...]
    exceptions: tuple[str, ...]


class _Hold(msgspec.Struct, frozen=True):
    """Something that allows it in a place; what an office allows is not all to be denied."""

    text: str
    resource: str
    place: Place
    tags: str = ""
    is_office: bool = False
    exceptions: tuple[str, ...] = ()


class _Denial(msgspec.Struct, frozen=True):
    """A grant that takes it away in a place; `is_open` where that depends on what was not asked about."""

    grant: Grant
    place: Place
    is_open: bool


class _Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for everybody: the place, the namespaces there by their owners, and what the grants say of it.

    `hidden` are namespaces that are not there by the listener that is asked about, or by that of the question itself;
    `bound` are the namespaces that answer on certain listeners only, where none was asked about.
    """

    snapshot: PolicySnapshot
    action: Action
    name: str
    tag: str
    place: Place
    hidden: set[str]
    namespaces: list[str]
    bound: list[str]
    owned: dict[int, list[str]] = {}
    public: list[_Hold] = []
    holds: dict[Subject, list[_Hold]] = {}
    denials: dict[Subject, list[_Denial]] = {}


async def list_able(registry: Registry, caller: Caller, inquiry: Inquiry, page: Page) -> tuple[list[Able], str | None]:
    """Everybody who may, a page: what all have first, then by name; and after which key the next one begins.

    An account is listed for what it has beyond that. Raises RequestInvalid, Denied, InsufficientScope.
    """
    parse_range(inquiry.resource)
    await registry.policy.refresh()
    require_administration(registry, caller, inquiry.resource)
    return await asyncio.to_thread(find_able, registry.policy.snapshot, caller, inquiry, page)


def find_able(snapshot: PolicySnapshot, caller: Caller, inquiry: Inquiry, page: Page) -> tuple[list[Able], str | None]:
    """The same over a policy."""
    scene = _set(snapshot, caller, inquiry)
    if {pattern.partition("/")[0] for pattern in scene.place} <= scene.hidden:
        return [], None
    found: list[tuple[str, Able]] = []
    for entry in _entries(scene, page.after):
        if len(found) == page.limit:
            return [able for _, able in found], found[-1][0]
        found.append(entry)
    return [able for _, able in found], None


def _entries(scene: _Scene, after: str) -> Iterator[tuple[str, Able]]:
    for key, subject in GROUPS:
        able = _judge_group(scene, subject) if key > after else None
        if able is not None:
            yield key, able
    for number, account in sorted(scene.snapshot.accounts.items(), key=lambda item: item[1].name):
        if account.name > after and number != OPERATOR and account.kind != "organisation" and not account.is_disabled:
            able = _judge_account(scene, number, account)
            if able is not None:
                yield account.name, able


def _judge_group(scene: _Scene, group: Subject) -> Able | None:
    everybody = [*scene.public, *scene.holds.get(EVERYONE, ())]
    if group == EVERYONE:
        subjects, own, shared = [EVERYONE], everybody, list[_Hold]()
    else:
        subjects, own, shared = [EVERYONE, SIGNED_IN], scene.holds.get(SIGNED_IN, []), everybody
    found = _judge(scene, own, shared, _of(scene.denials, subjects))
    if found is None:
        return None
    others = [
        _denial_text(scene, denial, _whom(scene.snapshot, subject))
        for subject, denials in scene.denials.items()
        if subject not in subjects
        for denial in denials
    ]
    return msgspec.structs.replace(found, who=group[0], subject=group[0], exceptions=_few(*found.exceptions, *others))


def _judge_account(scene: _Scene, number: int, account: AccountPolicy) -> Able | None:
    subjects: list[Subject] = [("account", number)]
    subjects += [("team", team) for team in sorted(scene.snapshot.teams.get(number, ()))]
    own = [*_offices(scene, number, account), *_of(scene.holds, subjects)]
    if not own:
        return None
    groups = [EVERYONE, SIGNED_IN]
    shared = [*scene.public, *_of(scene.holds, groups)]
    found = _judge(scene, own, shared, _of(scene.denials, [*groups, *subjects]))
    subject = str(subject_of("account", account.name, account.kind))
    return None if found is None else msgspec.structs.replace(found, who=account.name, subject=subject)


def _judge(scene: _Scene, own: list[_Hold], shared: list[_Hold], denials: list[_Denial]) -> Able | None:
    """What is left of it when all is denied that is denied; nothing where that is only what others have as well."""

    def is_left(hold: _Hold) -> bool:
        return _is_exempt(scene, hold) or not any(_takes(scene, denial, hold) for denial in denials)

    left = [hold for hold in own if is_left(hold)]
    if not left:
        return None
    left += [hold for hold in shared if is_left(hold)]
    exceptions = [
        _denial_text(scene, denial)
        for denial in denials
        if any(not _is_exempt(scene, hold) and _bites(denial, hold) for hold in left)
    ]
    plain = [hold for hold in left if not hold.exceptions]
    exceptions += [
        text
        for hold in left
        for text in hold.exceptions
        if not any(is_within(hold.place, each.place) for each in plain)
    ]
    exceptions += [
        f"{namespace} answers only on the listeners {', '.join(scene.snapshot.elsewhere[namespace])}"
        for namespace in scene.bound
        if any(touches(hold.place, namespace) for hold in left)
    ]
    everywhere = any(is_within(scene.place, hold.place) for hold in left)
    where = (scene.name,) if everywhere else tuple(dict.fromkeys(hold.resource for hold in left))
    return Able("", "", everywhere, where, _few(*(hold.text for hold in left)), _few(*exceptions))


def _is_exempt(scene: _Scene, hold: _Hold) -> bool:
    return hold.is_office and scene.action in UNDENIABLE


def _takes(scene: _Scene, denial: _Denial, hold: _Hold) -> bool:
    """Whether a denial leaves nothing of what something allows, as far as was asked."""
    if denial.is_open or not (is_within(scene.place, denial.place) or is_within(hold.place, denial.place)):
        return False
    tags = denial.grant.tags
    if not tags or scene.tag:
        return True
    return scene.action in OF_TAGS and bool(hold.tags) and contains(tags, hold.tags)


def _bites(denial: _Denial, hold: _Hold) -> bool:
    tags = denial.grant.tags
    return meet(denial.place, hold.place) and not (tags and hold.tags and not overlap(tags, hold.tags))


def _offices(scene: _Scene, number: int, account: AccountPolicy) -> Iterator[_Hold]:
    if account.is_admin:
        yield _Hold(ADMINISTRATOR, "", place_of(""), is_office=True)
    if scene.action is Action.ADMIN:
        return
    snapshot = scene.snapshot
    organisations = sorted(
        each for each in snapshot.memberships.get(number, ()) if number in snapshot.owners.get(each, ())
    )
    for owner in (number, *organisations):
        for namespace in scene.owned.get(owner, ()):
            yield _Hold(f"owner of {namespace}", namespace, place_of(namespace), is_office=True)
    if account.kind == "user" and account.name not in snapshot.namespaces and touches(scene.place, account.name):
        yield _Hold(OWN_NAME, account.name, place_of(account.name), is_office=True)
    if scene.action is Action.NAMESPACE_CREATE:
        for patron in snapshot.owned_by(number):
            place = place_of(f"{patron}-*")
            if meet(place, scene.place):
                yield _Hold(patronage(patron), f"{patron}-*", place)


def _set(snapshot: PolicySnapshot, caller: Caller, inquiry: Inquiry) -> _Scene:
    name, _, tag = inquiry.resource.partition(":")
    place = place_of(name) if is_pattern(name) else (name,)
    origins = [caller.origin, *([inquiry.origin] if "listener" in inquiry.given else [])]
    hidden = {each for each in snapshot.elsewhere for origin in origins if is_elsewhere(snapshot, each, origin)}
    namespaces = [each for each in snapshot.namespaces if each not in hidden and touches(place, each)]
    scene = _Scene(
        snapshot=snapshot,
        action=inquiry.action,
        name=inquiry.resource,
        tag=tag,
        place=place,
        hidden=hidden,
        namespaces=namespaces,
        bound=[] if "listener" in inquiry.given else [each for each in namespaces if each in snapshot.elsewhere],
    )
    for namespace in namespaces:
        owner = snapshot.namespaces[namespace].owner
        if owner is not None:
            scene.owned.setdefault(owner, []).append(namespace)
    if inquiry.action is Action.PULL:
        scene.public.extend(_public(scene))
    for subject, grants in snapshot.grants.items():
        for grant in grants:
            if inquiry.action in grant.actions and grant.resource.partition("/")[0] not in hidden:
                _add(scene, inquiry, subject, grant)
    return scene


def _add(scene: _Scene, inquiry: Inquiry, subject: Subject, grant: Grant) -> None:
    """Sort a grant to those that allow or deny something of what was asked, or leave it out."""
    place = place_of(grant.resource)
    if not meet(place, scene.place) or (grant.tags and scene.tag and not matches(grant.tags, scene.tag)):
        return
    conditions = grant.conditions or UNCONDITIONAL
    judged = conditions.only({name for name, asked in ASKS.items() if asked in inquiry.given} | {"not_after"})
    if judged.unmet(inquiry.origin) and not (grant.is_deny and judged.is_blind(inquiry.origin)):
        return
    if grant.is_deny:
        denial = _Denial(grant, place, _depends(conditions, inquiry))
        scene.denials.setdefault(subject, []).append(denial)
        return
    if grant.tags and not scene.tag and scene.action not in TAGLESS | OF_TAGS:
        return
    # Who pushes to a namespace that is not there makes it, which grants do not give.
    if scene.action in MAKING and not _is_there(scene, grant.resource, place):
        return
    hold = _Hold(describe_grant(grant), grant.resource, place, grant.tags)
    scene.holds.setdefault(subject, []).append(hold)


def _is_there(scene: _Scene, resource: str, place: Place) -> bool:
    """Whether a namespace of the place that was asked about, and of this one, is there."""
    home = resource.partition("/")[0]
    if home and not is_pattern(home):
        return home in scene.snapshot.namespaces
    return any(touches(place, namespace) for namespace in scene.namespaces)


def _depends(conditions: Conditions, inquiry: Inquiry) -> bool:
    """Whether conditions hold or not by something that was not asked about."""
    open_ = {name for name, asked in ASKS.items() if asked not in inquiry.given}
    if not conditions.only({"not_before"}).unmet(inquiry.origin):
        open_.discard("not_before")
    return bool(conditions.only(open_).terms())


def _public(scene: _Scene) -> Iterator[_Hold]:
    snapshot, (name, *_) = scene.snapshot, scene.place
    if not is_pattern(name):
        if any(_shows(snapshot, name, namespace) for namespace in scene.namespaces):
            yield _Hold(PUBLIC, name, scene.place)
        return
    differing: dict[str, list[str]] = {}
    for name in sorted(snapshot.repositories):
        if meet(scene.place, (name,)):
            differing.setdefault(name.partition("/")[0], []).append(name)
    for namespace in scene.namespaces:
        others, place = differing.get(namespace, []), (f"{namespace}/**",)
        if snapshot.namespaces[namespace].visibility == "private":
            yield from (
                _Hold(f"{each} is public", each, (each,)) for each in others if _shows(snapshot, each, namespace)
            )
        else:
            private = tuple(f"{each} is private" for each in others if not _shows(snapshot, each, namespace))
            yield _Hold(f"{namespace} is public", namespace, place, exceptions=private)


def _shows(snapshot: PolicySnapshot, name: str, namespace: str) -> bool:
    default = snapshot.namespaces[namespace].visibility
    return "/" in name and snapshot.repositories.get(name, default) == "public"


def _denial_text(scene: _Scene, denial: _Denial, whom: str = "") -> str:
    grant = denial.grant
    where = grant.resource or "the whole registry"
    return f"{scene.action.value} is denied{whom} on {where}{limits_of(grant)} ({grant.title}, grant {grant.id})"


def _whom(snapshot: PolicySnapshot, subject: Subject) -> str:
    kind, number = subject
    if kind == "account":
        account = snapshot.accounts.get(number)
        return f" to {account.name}" if account else " to somebody"
    return " to a team" if kind == "team" else " to all who are signed in"


def _of(found: dict[Subject, list[T]], subjects: Iterable[Subject]) -> list[T]:
    return [each for subject in subjects for each in found.get(subject, ())]


def _few(*texts: str) -> tuple[str, ...]:
    """Texts, each once, and not more than somebody reads."""
    told = tuple(dict.fromkeys(texts))
    return told if len(told) <= MOST_TOLD else (*told[:MOST_TOLD], f"and {len(told) - MOST_TOLD} more")
