"""What a client does to one repository, each step held to the sentences that govern it."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from . import data, spec
from .transport import Body, Pairs, Response
from .wire import Client, error_codes, parsed

ACCEPT: Pairs = (("Accept", data.IMAGE_INDEX), ("Accept", data.IMAGE_MANIFEST))
OCTETS: Pairs = (("Content-Type", data.OCTETS),)
NO_LENGTH: Pairs = (("Content-Length", "0"),)
SMALLEST_CHUNK = 1024
NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True)
class Repository:
    """One repository of the registry under test."""

    client: Client
    name: str

    def path(self, suffix: str) -> str:
        """The path of something in this repository."""
        return f"/v2/{self.name}/{suffix}"

    def request(self, method: str, suffix: str, headers: Pairs = (), body: Body = b"") -> Response:
        """A request below `/v2/<name>/`."""
        return self.client.request(method, self.path(suffix), headers, body)

    def follow(self, method: str, location: str, headers: Pairs = (), body: Body = b"") -> Response:
        """A request to a location that the registry gave."""
        return self.client.request(method, location, headers, body)

    def manifest(self, method: str, reference: str) -> Response:
        """GET, HEAD or DELETE a manifest."""
        return self.request(method, f"manifests/{reference}", ACCEPT if method != "DELETE" else ())

    def blob(self, method: str, digest: str) -> Response:
        """GET, HEAD or DELETE a blob."""
        return self.request(method, f"blobs/{digest}")

    def asking(self, *scopes: str) -> Repository:
        """The same repository, with tokens that carry further scopes."""
        return replace(self, client=self.client.asking(*scopes))

    def put_manifest(self, manifest: data.Manifest, reference: str = "", tags: Iterable[str] = ()) -> Response:
        """PUT a manifest by a reference (its digest by default), with `tag` parameters."""
        query = "?" + urllib.parse.urlencode([("tag", tag) for tag in tags]) if tags else ""
        target = f"manifests/{reference or manifest.digest}{query}"
        return self.request("PUT", target, (("Content-Type", manifest.media_type),), manifest.raw)


def with_query(location: str, **parameters: str) -> str:
    """A location with further query parameters, its own kept as they are."""
    parts = urllib.parse.urlsplit(location)
    query = "&".join(filter(None, [parts.query, urllib.parse.urlencode(parameters)]))
    return urllib.parse.urlunsplit(parts._replace(query=query))


def location_of(response: Response) -> str:
    """The Location of a response; only asked for where one must be."""
    location = response.header("Location")
    assert location, f"the response must carry a Location: {response.status} {response.headers}"
    return location


def open_upload(repository: Repository, **parameters: str) -> Response:
    """POST for an upload session, as a chunked push does it."""
    response = repository.request("POST", with_query("blobs/uploads/", **parameters), NO_LENGTH)
    spec.must(response.status == 202 and response.header("Location"), spec.UPLOAD_OPENED, response)
    return response


def chunk_size(opened: Response, length: int) -> int:
    """A third of the content, or more where the registry asks for larger chunks."""
    least = opened.header("OCI-Chunk-Min-Length")
    spec.should(least is None or least.isdigit(), spec.CHUNK_MINIMUM, least)
    return max(length // 3 + 1, int(least or 0), SMALLEST_CHUNK)


def patch_chunk(repository: Repository, location: str, content: bytes, start: int) -> Response:
    """PATCH one chunk with its range."""
    end = start + len(content) - 1
    headers: Pairs = (*OCTETS, ("Content-Range", f"{start}-{end}"))
    return repository.follow("PATCH", location, headers, content)


def accepted(response: Response, end: int) -> str:
    """Hold an accepted chunk to its sentences; answers where the next one goes."""
    spec.must(response.status == 202 and response.header("Location"), spec.CHUNK_ACCEPTED, response)
    spec.must(response.header("Range") == f"0-{end}", spec.CHUNK_END, response.headers)
    return location_of(response)


def close_upload(repository: Repository, location: str, digest: str, content: bytes = b"") -> Response:
    """PUT that closes a session, with the last of the content or with none."""
    headers = OCTETS if content else (*OCTETS, *NO_LENGTH)
    return repository.follow("PUT", with_query(location, digest=digest), headers, content)


def send_post_put(repository: Repository, content: bytes, digest: str, **parameters: str) -> Response:
    """POST for a session, then PUT the whole content; answers the PUT's response."""
    opened = repository.request("POST", with_query("blobs/uploads/", **parameters))
    spec.must(opened.status == 202 and opened.header("Location"), spec.UPLOAD_OPENED, opened)
    return close_upload(repository, location_of(opened), digest, content)


def send_post_only(repository: Repository, content: bytes, digest: str, **parameters: str) -> Response:
    """POST the whole content at once; a registry that cannot says 202, and then PUT finishes it."""
    target = with_query("blobs/uploads/", digest=digest, **parameters)
    headers = OCTETS if content else (*OCTETS, *NO_LENGTH)
    response = repository.request("POST", target, headers, content)
    if response.status != 202:
        return response
    spec.should(response.header("Location"), spec.SINGLE_POST_UNSUPPORTED, response)
    return close_upload(repository, location_of(response), digest, content)


def send_patch_stream(repository: Repository, content: bytes, digest: str, **parameters: str) -> Response:
    """POST, one PATCH of unknown length, and a PUT without content, as docker pushes."""
    opened = open_upload(repository, **parameters)
    half = len(content) // 2
    pieces = tuple(piece for piece in (content[:half], content[half:]) if piece)
    patched = repository.follow("PATCH", location_of(opened), OCTETS, pieces)
    spec.must(patched.status == 202 and patched.header("Location"), spec.CHUNK_ACCEPTED, patched)
    return close_upload(repository, location_of(patched), digest)


def send_patch_chunked(repository: Repository, content: bytes, digest: str, **parameters: str) -> Response:
    """POST, the content in ranged chunks, and a PUT without content."""
    opened = open_upload(repository, **parameters)
    location, size = location_of(opened), chunk_size(opened, len(content))
    for start in range(0, len(content), size):
        chunk = content[start : start + size]
        location = accepted(patch_chunk(repository, location, chunk, start), start + len(chunk) - 1)
    return close_upload(repository, location, digest)


Way = Callable[..., Response]
WAYS: dict[str, Way] = {
    "post-put": send_post_put,
    "post-only": send_post_only,
    "patch-stream": send_patch_stream,
    "patch-chunked": send_patch_chunked,
}


def push_blob(
    repository: Repository, content: bytes, digest: str, way: str = "post-put", **parameters: str
) -> Response:
    """Push a blob in one of the four ways and hold the last answer to its sentences."""
    response = WAYS[way](repository, content, digest, **parameters)
    sentence = {"post-put": spec.UPLOAD_DONE, "post-only": spec.SINGLE_POST_DONE}.get(way, spec.CLOSED)
    spec.must(response.status == 201 and response.header("Location"), sentence, response)
    given = response.header("Docker-Content-Digest")
    spec.must(given in {None, digest}, spec.BLOB_DIGEST_MATCHES, given)
    return response


def check_location(repository: Repository, response: Response, content: bytes, sentence: str) -> None:
    """The Location of a 201 leads to what was pushed."""
    fetched = repository.follow("GET", location_of(response), ACCEPT)
    spec.must(fetched.status == 200 and fetched.body == content, sentence, fetched)


def push_manifest(
    repository: Repository, manifest: data.Manifest, reference: str = "", tags: Iterable[str] = ()
) -> None:
    """Push a manifest and hold the answer to its sentences."""
    response = repository.put_manifest(manifest, reference, tags)
    spec.must(response.status == 201 and response.header("Location"), spec.MANIFEST_PUSHED, response)
    given = response.header("Docker-Content-Digest")
    spec.must(given == manifest.digest, spec.MANIFEST_PUSHED_DIGEST, given)
    spec.must(set(tags) <= set(listed(response, "OCI-Tag")), spec.MANIFEST_TAGS, response.headers)
    if manifest.subject:
        spec.must(response.header("OCI-Subject") == manifest.subject, spec.SUBJECT_HEADER, response.headers)
    check_location(repository, response, manifest.raw, spec.MANIFEST_LOCATION)


def listed(response: Response, name: str) -> list[str]:
    """The members of a header whose value is a list."""
    members = ",".join(response.values(name)).split(",")
    return [member.strip() for member in members if member.strip()]


def push_all(repository: Repository, made: data.DataSet) -> set[str]:
    """Push a whole data set, a different way for each blob; answers the digests of manifests that were refused."""
    for number, (digest, content) in enumerate(made.blobs.items()):
        push_blob(repository, content, digest, list(WAYS)[number % len(WAYS)])
    refused = {digest for digest in made.manifests if not push_with_tags(repository, made, digest)}
    made.tags = {tag: digest for tag, digest in made.tags.items() if digest not in refused}
    return refused


def push_with_tags(repository: Repository, made: data.DataSet, digest: str) -> bool:
    """Push one manifest by digest and under its tags; False when a sparse one was refused, as it may be."""
    manifest, tags = made.manifests[digest], made.tags_of(digest)
    by_parameter = tags if made.tags_by_parameter else []
    if digest in made.sparse and is_refused_as_sparse(repository, manifest):
        return False
    push_manifest(repository, manifest, tags=by_parameter)
    for tag in tags if not by_parameter else []:
        push_manifest(repository, manifest, tag)
    return True


def is_refused_as_sparse(repository: Repository, manifest: data.Manifest) -> bool:
    """Whether the registry refuses a manifest for what is missing; if it does, with the right code."""
    response = repository.put_manifest(manifest)
    if response.status == 201:
        return False
    spec.must("MANIFEST_BLOB_UNKNOWN" in error_codes(response), spec.MANIFEST_UNKNOWN_REFERENCES, response)
    return True


def check_manifest(repository: Repository, reference: str, manifest: data.Manifest) -> None:
    """A manifest comes back byte for byte, with its type and digest."""
    response = repository.manifest("GET", reference)
    spec.must(response.status == 200 and response.body == manifest.raw, spec.MANIFEST_FOUND, response.status)
    spec.must(response.body == manifest.raw, spec.MANIFEST_EXACT)
    spec.must(response.header("Docker-Content-Digest") == manifest.digest, spec.MANIFEST_DIGEST, response.headers)
    check_type(response, manifest)


def check_manifest_head(repository: Repository, reference: str, manifest: data.Manifest) -> None:
    """HEAD of a manifest tells what GET would, without the body."""
    response = repository.manifest("HEAD", reference)
    spec.must(response.status == 200, spec.HEAD_FOUND, response)
    spec.must(response.header("Docker-Content-Digest") == manifest.digest, spec.HEAD_DIGEST, response.headers)
    spec.must(response.header("Content-Length") == str(len(manifest.raw)), spec.HEAD_SIZE, response.headers)
    spec.should(response.body == b"", spec.HTTP_SEMANTICS, "a HEAD with a body")
    check_type(response, manifest)


def check_type(response: Response, manifest: data.Manifest) -> None:
    """The type is the one that was pushed, without parameters."""
    given = response.header("Content-Type") or ""
    spec.should(given == manifest.media_type, spec.MANIFEST_TYPE_AS_PUSHED, given)
    spec.should(";" not in given, spec.MANIFEST_TYPE_PLAIN, given)


def check_blob(repository: Repository, digest: str, content: bytes) -> None:
    """A blob comes back whole, with its digest and length."""
    response = repository.blob("GET", digest)
    spec.must(response.status == 200 and response.body == content, spec.BLOB_FOUND, response.status)
    given = response.header("Docker-Content-Digest")
    spec.must(given is not None, spec.BLOB_DIGEST, response.headers)
    spec.must(given == digest, spec.BLOB_DIGEST_MATCHES, given)
    spec.should(response.header("Content-Length") == str(len(content)), spec.HTTP_SEMANTICS, response.headers)


def check_blob_head(repository: Repository, digest: str, content: bytes) -> None:
    """HEAD of a blob tells its digest and length, without the body."""
    response = repository.blob("HEAD", digest)
    spec.must(response.status == 200, spec.HEAD_FOUND, response)
    spec.must(response.header("Docker-Content-Digest") == digest, spec.HEAD_DIGEST, response.headers)
    spec.must(response.header("Content-Length") == str(len(content)), spec.HEAD_SIZE, response.headers)
    spec.should(response.body == b"", spec.HTTP_SEMANTICS, "a HEAD with a body")


def delete_blob(repository: Repository, digest: str) -> None:
    """Delete a blob that no manifest names; afterwards it is gone."""
    response = repository.blob("DELETE", digest)
    spec.must(response.status == 202, spec.BLOB_DELETED, response)
    spec.must(repository.blob("HEAD", digest).status == 404, spec.HEAD_MISSING)
    spec.must(repository.blob("GET", digest).status == 404, spec.BLOB_MISSING)


def delete_manifest(repository: Repository, digest: str) -> None:
    """Delete a manifest; afterwards it is gone."""
    response = repository.manifest("DELETE", digest)
    spec.must(response.status == 202, spec.MANIFEST_DELETED, response)
    spec.must(repository.manifest("HEAD", digest).status == 404, spec.HEAD_MISSING)
    spec.must(repository.manifest("GET", digest).status == 404, spec.MANIFEST_GONE)


def delete_tag(repository: Repository, tag: str) -> None:
    """Delete a tag; afterwards it is gone."""
    response = repository.manifest("DELETE", tag)
    spec.must(response.status == 202, spec.TAG_DELETED, response)
    spec.must(repository.manifest("HEAD", tag).status == 404, spec.HEAD_MISSING)
    spec.must(repository.manifest("GET", tag).status == 404, spec.TAG_GONE)


def tags_page(repository: Repository, query: str = "") -> tuple[list[str], str | None]:
    """One page of the tags and the location of the next, the answer held to its sentences."""
    response = repository.request("GET", "tags/list" + query)
    spec.must(response.status == 200, spec.TAGS_FOUND, response)
    return tags_of(repository, response), next_page(response, spec.TAGS_LINK)


def tags_of(repository: Repository, response: Response) -> list[str]:
    """The tags in a listing, which must name the repository and be in order."""
    document = parsed(response)
    spec.must(document["name"] == repository.name and "tags" in document, spec.TAGS_BODY, document)
    tags: list[str] = document["tags"] or []
    ordered = tags in (sorted(tags), sorted(tags, key=str.lower))
    spec.must(ordered, spec.TAGS_ORDER, tags)
    return tags


def next_page(response: Response, sentence: str) -> str | None:
    """Where the Link header leads, which must have the relation `next`."""
    link = response.header("Link")
    if link is None:
        return None
    found = NEXT.search(link)
    spec.must(found, sentence, link)
    assert found
    return found[1]


def referrers(repository: Repository, digest: str, artifact_type: str = "") -> list[data.Descriptor]:
    """All referrers of a digest, page after page, each answer held to its sentences."""
    target = f"referrers/{digest}"
    location: str | None = repository.path(with_query(target, artifactType=artifact_type) if artifact_type else target)
    found: list[data.Descriptor] = []
    while location:
        response = repository.follow("GET", location)
        found += referrers_of(response)
        if artifact_type:
            applied = listed(response, "OCI-Filters-Applied")
            spec.must("artifactType" in applied, spec.REFERRERS_FILTERED, response.headers)
            spec.must(set(applied) == {"artifactType"}, spec.REFERRERS_FILTER_LIST, response.headers)
        location = next_page(response, spec.REFERRERS_LINK)
    return found


def referrers_of(response: Response) -> list[data.Descriptor]:
    """The descriptors in an answer, which must be an image index."""
    spec.must(response.status != 404, spec.REFERRERS_NEVER_404, response)
    spec.must(response.status == 200, spec.REFERRERS_FOUND, response)
    spec.must(response.header("Content-Type") == data.IMAGE_INDEX, spec.REFERRERS_TYPE, response.headers)
    document: dict[str, Any] = parsed(response)
    is_index = document["schemaVersion"] == 2 and document["mediaType"] == data.IMAGE_INDEX
    spec.must(is_index and isinstance(document["manifests"], list), spec.REFERRERS_INDEX, document)
    return list(document["manifests"])


def by_digest(descriptors: Iterable[data.Descriptor]) -> list[data.Descriptor]:
    """Descriptors in an order of their own, to compare lists whose order is free."""
    return sorted(descriptors, key=lambda descriptor: str(descriptor["digest"]))
