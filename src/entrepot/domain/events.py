"""What happened: the facts that history, webhooks, replication and audit read."""

from __future__ import annotations

from typing import Literal

import msgspec

EventKind = Literal[
    "manifest.pushed",
    "manifest.deleted",
    "manifest.collected",
    "collection.requested",
    "blob.deleted",
    "blob.damaged",
    "blob.healed",
    "scrub.requested",
    "store.cleaned",
    "tag.moved",
    "tag.deleted",
    "repository.created",
    "repository.changed",
    "namespace.created",
    "namespace.changed",
    "grant.given",
    "grant.taken",
    "user.created",
    "user.password",
    "user.removed",
    "user.locked",
    "user.unlocked",
    "key.made",
    "key.hastened",
    "key.revoked",
    "key.removed",
    "organisation.created",
    "organisation.changed",
    "organisation.removed",
    "organisation.joined",
    "organisation.role",
    "organisation.left",
    "invitation.made",
    "invitation.accepted",
    "invitation.declined",
    "invitation.withdrawn",
    "team.created",
    "team.changed",
    "team.removed",
    "team.joined",
    "team.left",
    "role.created",
    "role.changed",
    "role.removed",
    "user.disabled",
    "user.enabled",
    "user.teams",
    "team-group.added",
    "team-group.removed",
    "service.created",
    "service.changed",
    "service.removed",
    "credential.created",
    "credential.revoked",
    "issuer.created",
    "issuer.changed",
    "issuer.removed",
    "issuer.rule.set",
    "issuer.rule.removed",
    "token.exchanged",
    "token.refused",
    "user.totp.enabled",
    "user.totp.disabled",
    "user.totp.recovery-codes",
    "user.totp.recovered",
    "user.email",
    "user.email.removed",
    "user.reset-code",
    "invitation.mailed",
    "invitation.unmailed",
    "session.opened",
    "session.closed",
    "device.approved",
    "device.denied",
    "sign-on.provider.created",
    "sign-on.provider.changed",
    "sign-on.provider.removed",
    "sign-on.linked",
    "sign-on.unlinked",
    "sign-on.refused",
]


class Event(msgspec.Struct, frozen=True):
    """One fact: `subject` is the name it is about, `detail` is JSON-ready and holds no secret."""

    kind: EventKind
    actor: str
    subject: str
    detail: dict[str, object] = {}
