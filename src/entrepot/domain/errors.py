"""Everything that can go wrong for a caller, as one tree; no HTTP in here.

EntrepotError
├── Invalid
│   ├── NameInvalid
│   ├── TagInvalid
│   ├── DigestInvalid
│   ├── SizeInvalid
│   ├── ManifestInvalid
│   ├── UploadInvalid
│   ├── RequestInvalid
│   └── CodeInvalid
├── Unknown
│   ├── EndpointUnknown
│   ├── NameUnknown
│   ├── ManifestUnknown
│   ├── BlobUnknown
│   │   └── Damaged
│   ├── UploadUnknown
│   ├── AccountUnknown
│   ├── OrganisationUnknown
│   ├── TeamUnknown
│   ├── RoleUnknown
│   ├── PlanUnknown
│   ├── InvitationUnknown
│   └── CredentialUnknown
├── Unmet
│   └── ManifestBlobUnknown
├── Conflict
│   ├── AlreadyExists
│   ├── PreconditionFailed
│   └── OutOfOrder
├── TooLarge
├── TooSlow
├── TooMany
├── Unsupported
│   └── InUse
├── Unauthenticated
│   ├── InsufficientScope
│   ├── CodeNeeded
│   └── EnrolmentNeeded
├── Denied
└── Unavailable
    └── StorageFull
"""


class EntrepotError(Exception):
    """The root: a sentence for people, and details that a program can use.

    `message` says what was wrong and, where it helps, what to do; `detail` is JSON-ready. `denial` is the id under
    which a refusal is remembered.
    """

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.denial = ""


class Invalid(EntrepotError):
    """The request can never succeed as it is written."""


class NameInvalid(Invalid):
    """Not a legal repository or namespace name."""


class TagInvalid(Invalid):
    """Not a legal tag."""


class DigestInvalid(Invalid):
    """Not a legal digest, or not the digest of the content."""


class SizeInvalid(Invalid):
    """The announced length is not the length that came."""


class ManifestInvalid(Invalid):
    """Not a manifest that a registry may store."""


class UploadInvalid(Invalid):
    """A request that does not fit the state of its upload."""


class RequestInvalid(Invalid):
    """A parameter, header or document outside the format's own grammar."""


class CodeInvalid(Invalid):
    """A code of a mail that is wrong, was used, was tried too often, or has expired; nobody is told which."""


class Unknown(EntrepotError):
    """What was named is not here, or not for this caller."""


class EndpointUnknown(Unknown):
    """No endpoint answers to that path."""


class NameUnknown(Unknown):
    """No such repository or namespace for this caller."""


class ManifestUnknown(Unknown):
    """The repository has no such manifest or tag."""


class BlobUnknown(Unknown):
    """The repository has no such blob."""


class Damaged(BlobUnknown):
    """The stored bytes no longer match their digest and are not served; pushing them again heals."""


class UploadUnknown(Unknown):
    """No such upload: finished, cancelled, expired or never begun."""


class AccountUnknown(Unknown):
    """No such user."""


class OrganisationUnknown(Unknown):
    """No such organisation for this caller."""


class TeamUnknown(Unknown):
    """The organisation has no such team."""


class RoleUnknown(Unknown):
    """No such role."""


class PlanUnknown(Unknown):
    """There is no such plan."""


class InvitationUnknown(Unknown):
    """No such invitation: never made, answered, withdrawn or expired."""


class CredentialUnknown(Unknown):
    """The account has no such secret."""


class Unmet(EntrepotError):
    """Something that the request builds on is missing."""


class ManifestBlobUnknown(Unmet):
    """A manifest names a blob or manifest that the repository does not have."""


class Conflict(EntrepotError):
    """The present state refuses the request; another order of things would not."""


class AlreadyExists(Conflict):
    """The name is taken."""


class PreconditionFailed(Conflict):
    """The tag is not where the caller expected it to be."""


class OutOfOrder(Conflict):
    """A chunk does not start where the upload ends."""


class TooLarge(EntrepotError):
    """More bytes than the limit allows."""


class TooSlow(EntrepotError):
    """The body did not arrive within its time limit."""


class TooMany(EntrepotError):
    """More requests, uploads or attempts than the limit allows; later may work.

    `standing` is what clients are told of a limit on requests.
    """

    standing: object = None


class Unsupported(EntrepotError):
    """The registry does not do this."""


class InUse(Unsupported):
    """Content that other content needs is not deleted."""


class Unauthenticated(EntrepotError):
    """No credentials, or none that are good."""


class InsufficientScope(Unauthenticated):
    """The token does not cover what its owner may do; ask for another."""


class CodeNeeded(Unauthenticated):
    """The password is right, and a one-time code is missing or wrong; `since` is as in Caller."""

    since = 0


class EnrolmentNeeded(Unauthenticated):
    """The password is right, and its owner has to set up one-time codes first; `since` is as in Caller."""

    since = 0


class Denied(EntrepotError):
    """The identity is known and may not do this."""


class Unavailable(EntrepotError):
    """The registry cannot do this now, through no fault of the request."""


class StorageFull(Unavailable):
    """No room for the bytes or for the rows."""
