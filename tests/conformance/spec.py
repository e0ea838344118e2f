"""The sentences of the OCI Distribution Specification that bind a registry, each under a name to cite it by.

The words are the specification's own (its main branch); the id before the colon is the endpoint, section or code
table they belong to. A sentence that begins a list of headers ends here with those headers in brackets.
"""

from __future__ import annotations

# Support and categories
SUPPORT = "end-1: If the response is `200 OK`, then the registry implements this specification."
CATEGORY_PULL = (
    "requirements: All registries conforming to this specification MUST support, at a minimum, all APIs in the "
    "**Pull** category."
)
CATEGORY_OTHERS = (
    "requirements: Registries SHOULD also support the **Push**, **Content Discovery**, and **Content Management** "
    "categories."
)
CATEGORY_CLAIMED = (
    "requirements: A registry claiming conformance with one of these specification categories MUST implement all "
    "APIs in the claimed category."
)

# Names
NAME_GRAMMAR = "names: Throughout this document, `<name>` MUST match the following regular expression"
TAG_GRAMMAR = (
    "names: Throughout this document, `<tag-or-digest>` as a tag MUST be at most 128 characters in length and MUST "
    "match the following regular expression"
)
REFERENCE_FORM = "end-3: `<tag-or-digest>` MUST be either (a) the digest of the manifest or (b) a tag."
REFERENCE_OTHER = "end-3: The `<tag-or-digest>` MUST NOT be in any other format."
PUSH_REFERENCE_FORM = (
    "end-7: `<name>` is the namespace of the repository, and the `<tag-or-digest>` MUST be either a) a digest or b) "
    "a tag."
)

# Pulling manifests
MANIFEST_TYPE_PLAIN = "end-3: The registry SHOULD NOT include parameters on the `Content-Type` header."
MANIFEST_TYPE_AS_PUSHED = (
    "end-3: The `Content-Type` header SHOULD match what the client pushed as the manifest's `Content-Type`."
)
MANIFEST_FOUND = (
    "end-3: A GET request to an existing manifest URL MUST provide the expected manifest, with a response code that "
    "MUST be `200 OK`."
)
MANIFEST_DIGEST = (
    "end-3: A successful response MUST contain the digest of the uploaded blob in the header `Docker-Content-Digest`."
)
MANIFEST_MISSING = "end-3: If the manifest is not found in the repository, the response code MUST be `404 Not Found`."
REPOSITORY_MISSING = "end-3: An attempt to pull a nonexistent repository MUST return response code `404 Not Found`."

# Pulling blobs
BLOB_FOUND = (
    "end-2: A GET request to an existing blob URL MUST provide the expected blob, with a response code that MUST be "
    "`200 OK`."
)
BLOB_DIGEST = (
    "end-2: A successful response MUST contain the digest of the uploaded blob in the header `Docker-Content-Digest`."
)
BLOB_DIGEST_MATCHES = "end-2: If present, the value of this header MUST be a digest matching that of the response body."
BLOB_MISSING = "end-2: If the blob is not found in the repository, the response code MUST be `404 Not Found`."
BLOB_RANGE = "end-2: A registry SHOULD support the `Range` request header in accordance with RFC 9110 (section 14)."

# Checking for content
HEAD_FOUND = "end-2, end-3: A HEAD request to an existing blob or manifest URL MUST return `200 OK`."
HEAD_DIGEST = (
    "end-2, end-3: A successful response MUST contain the digest of the uploaded blob or manifest in the header "
    "`Docker-Content-Digest`."
)
HEAD_SIZE = (
    "end-2, end-3: A successful response MUST contain the size in bytes of the uploaded blob or manifest in the "
    "header `Content-Length`."
)
HEAD_MISSING = (
    "end-2, end-3: If the blob or manifest is not found in the repository, the response code MUST be `404 Not Found`."
)

# Pushing blobs
DIGEST_INVALID = (
    "pushing blobs: In each implementation, if the client provided digest is invalid or uses an unsupported "
    "algorithm, the registry SHOULD respond with a response code `400 Bad Request`."
)
UPLOAD_OPENED = (
    "end-4a: Upon success, the response MUST have a code of `202 Accepted`, and MUST include the following header "
    "[Location: <blob-push-location>]"
)
UPLOAD_UNIQUE = (
    "end-4a: The `<blob-push-location>` MUST contain a UUID representing a unique session ID for the upload to follow."
)
UPLOAD_DONE = (
    "end-6: Upon successful completion of the request, the response MUST have code `201 Created` and MUST have the "
    "following header [Location: <blob-location>]"
)
BLOB_LOCATION = "end-6: With `<blob-location>` being a pullable blob URL."
SINGLE_POST_DONE = (
    "end-4b: Successful completion of the request MUST return a `201 Created` and MUST include the following header "
    "[Location: <blob-location>]"
)
SINGLE_POST_UNSUPPORTED = (
    "end-4b: Registries that do not support single request monolithic uploads SHOULD return a `202 Accepted` status "
    "code and `Location` header"
)
SINGLE_POST_DIGEST = "end-4b: Likewise, the `<digest>` MUST match the blob's digest."
SINGLE_POST_LENGTH = "end-4b: The `Content-Length` header MUST match the blob's actual content length."
UPLOAD_ALGORITHM = (
    "end-4c: When pushing a blob with a digest algorithm other than `sha256`, the post request SHOULD include the "
    "`digest-algorithm` parameter"
)

# Chunks
CHUNK_MINIMUM = (
    "end-4a: If the registry has a minimum chunk size, the `POST` response SHOULD include the following header "
    "[OCI-Chunk-Min-Length: <size>]"
)
CHUNK_RANGE_GRAMMAR = "end-5: It MUST match the following regular expression [^[0-9]+-[0-9]+$]"
CHUNK_INCLUSIVE = "end-5: The `<range>` refers to the byte range of the chunk, and MUST be inclusive on both ends."
CHUNK_FIRST = "end-5: The first chunk's range MUST begin with `0`."
CHUNK_ACCEPTED = (
    "end-5: The response for each successful chunk upload MUST be `202 Accepted`, and MUST have the following headers "
    "[Location: <blob-push-location>, Range: 0-<end-of-range>]"
)
CHUNK_END = (
    "end-5: The `<end-of-range>` value is the position of the last uploaded byte of the blob, matching the end value "
    "of the `Content-Range` in the request."
)
CHUNK_ORDER = (
    "end-5: Chunks MUST be uploaded in order, with the first byte of a chunk being the last chunk's `<end-of-range>` "
    "plus one."
)
CHUNK_OUT_OF_ORDER = (
    "end-5: If a chunk is uploaded out of order, the registry MUST respond with a `416 Requested Range Not "
    "Satisfiable` code."
)
CLOSED = (
    "end-6: The response to a successful closing of the session MUST be `201 Created`, and MUST contain the following "
    "header [Location: <blob-location>]"
)
CLOSED_BY_PUT = "end-6: Regardless of how the final chunk is uploaded, the session MUST be closed with a `PUT` request."
CLOSING_DIGEST = (
    "end-6: The closing `PUT` request MUST include the `<digest>` of the whole blob (not the final chunk) as a query "
    "parameter."
)
CLOSING_OUT_OF_ORDER = (
    "end-6: If the final chunk is uploaded out of order, the registry MUST respond with a `416 Requested Range Not "
    "Satisfiable` code."
)
UPLOAD_STATUS = (
    "end-13: The response to an active upload `<blob-push-location>` MUST be a `204 No Content` response code, and "
    "MUST have the following headers [Location: <blob-push-location>, Range: 0-<end-of-range>]"
)
UPLOAD_STATUS_END = "end-13: The `<end-of-range>` value is the position of the last uploaded byte of the blob."
UPLOAD_CANCELLED = "end-14: If successful, the response SHOULD be a `204 No Content` response code."

# Mounting
MOUNTED = (
    "end-11: The response to a successful mount MUST be `201 Created`, and MUST contain the following header "
    "[Location: <blob-location>]"
)
MOUNT_UNABLE = (
    "end-11: Alternatively, if a registry does not support cross-repository mounting or is unable to mount the "
    "requested blob, it SHOULD return a `202`."
)

# Pushing manifests
MANIFEST_PARAMETERS_IGNORED = "end-7: The registry SHOULD ignore parameters on the `Content-Type` header."
MANIFEST_NO_BLOBS = "end-7: However, the list of blobs MAY be empty."
MANIFEST_EXACT = "end-7: The registry MUST store the manifest in the exact byte representation provided by the client."
MANIFEST_PUSHED = (
    "end-7: Upon a successful upload, the registry MUST return response code `201 Created`, and MUST have the "
    "following header [Location: <location>]"
)
MANIFEST_LOCATION = "end-7: The `<location>` is a pullable manifest URL."
MANIFEST_PUSHED_DIGEST = (
    "end-7: The Docker-Content-Digest header returns the digest of the uploaded blob, and MUST be equal to the client "
    "provided digest."
)
MANIFEST_UNKNOWN_REFERENCES = (
    "push: When a manifest is rejected for this reason, it MUST result in one or more `MANIFEST_BLOB_UNKNOWN` errors."
)
MANIFEST_UNKNOWN_SUBJECT = (
    "push: A registry MUST initially accept an otherwise valid manifest with a `subject` field that references a "
    "manifest that does not exist in the repository"
)
MANIFEST_TAGS = (
    "end-7b: MUST include an `OCI-Tag` response header, in accordance with RFC 9110 (section 5) semantics, for each "
    "accepted tag."
)
MANIFEST_TEN_TAGS = "end-7b: SHOULD support pushing at least 10 tags per request."
MANIFEST_LIMIT = "end-7: A registry SHOULD enforce some limit on the maximum manifest size that it can accept."
MANIFEST_TOO_LARGE = (
    "end-7: A registry that enforces this limit SHOULD respond to a request to push a manifest over this limit with a "
    "response code `413 Payload Too Large`."
)
MANIFEST_FOUR_MEGABYTES = (
    "end-7: Client and registry implementations SHOULD expect to be able to support manifest pushes of at least 4 "
    "megabytes."
)
SUBJECT_HEADER = (
    "end-7: When processing a request for an image manifest with the `subject` field, a registry implementation that "
    "supports the referrers API MUST respond with the response header `OCI-Subject: <subject digest>`"
)

# Listing tags
TAGS_FOUND = "end-8a: Assuming a repository is found, this request MUST return a `200 OK` response code."
TAGS_ORDER = (
    "end-8a: If the list is not empty, the tags MUST be in lexical (i.e. case-insensitive alphanumeric order) or "
    '"ASCIIbetical" (Go\'s `sort.Strings`) order.'
)
TAGS_BODY = "end-8a: Upon success, the response MUST be a json body in the following format [name, tags]"
TAGS_COUNT = "end-8b: Otherwise, the response MUST include `<int>` results."
TAGS_LINK = (
    'end-8b: If included, the `Link` header MUST be set according to RFC 5988 with the Relation Type `rel="next"`.'
)
TAGS_ZERO = "end-8b: When `n` is zero, this endpoint MUST return an empty list, and MUST NOT include a `Link` header."
TAGS_PAGE_ORDER = 'end-8b: The tags MUST be in lexical or "ASCIIbetical" order.'
TAGS_AFTER = (
    "end-8b: That is to say, `<tagname>` will not be included in the results, but up to `<int>` tags *after* "
    "`<tagname>` will be returned."
)
TAGS_AFTER_NAME = "end-8b: `<tagname>` MUST NOT be a numerical index, but rather it MUST be a proper tag."
TAGS_LAST_ALONE = "end-8b: When using the `last` query parameter, the `n` parameter is OPTIONAL."

# Listing referrers
REFERRERS_FOUND = "end-12a: Assuming a repository is found, this request MUST return a `200 OK` response code."
REFERRERS_NEVER_404 = (
    "end-12a: If the registry supports the referrers API, the registry MUST NOT return a `404 Not Found` to a "
    "referrers API requests."
)
REFERRERS_INVALID = (
    "end-12a: If the request is invalid, such as a `<digest>` with an invalid syntax, a `400 Bad Request` MUST be "
    "returned."
)
REFERRERS_INDEX = (
    "end-12a: Upon success, the response MUST be a JSON body with an image index containing a list of descriptors."
)
REFERRERS_TYPE = "end-12a: The `Content-Type` header MUST be set to `application/vnd.oci.image.index.v1+json`."
REFERRERS_ARTIFACT_TYPE = (
    "end-12a: The descriptors MUST include an `artifactType` field that is set to the value of the `artifactType` in "
    "the image manifest or index, if present."
)
REFERRERS_CONFIG_TYPE = (
    "end-12a: If the `artifactType` is empty or missing in the image manifest, the value of `artifactType` MUST be "
    "set to the config descriptor `mediaType` value."
)
REFERRERS_INDEX_OMITS = (
    "end-12a: If the `artifactType` is empty or missing in an index, the `artifactType` MUST be omitted."
)
REFERRERS_ANNOTATIONS = "end-12a: The descriptors MUST include annotations from the image manifest or index."
REFERRERS_EMPTY = "end-12a: If a query results in no matching referrers, an empty manifest list MUST be returned."
REFERRERS_PAGES = (
    "end-12a: A `Link` header MUST be included in the response when the descriptor list cannot be returned in a "
    "single manifest."
)
REFERRERS_LINK = 'end-12a: The `Link` header MUST be set according to RFC 5988 with the Relation Type `rel="next"`.'
REFERRERS_FILTER = "end-12b: The registry SHOULD support filtering on `artifactType`."
REFERRERS_FILTERED = (
    "end-12b: If filtering is requested and applied, the response MUST include a header `OCI-Filters-Applied: "
    "artifactType` denoting that an `artifactType` filter was applied."
)
REFERRERS_FILTER_LIST = (
    "end-12b: If multiple filters are applied, the header MUST contain a comma separated list of applied filters."
)
REFERRERS_PREEXISTING = (
    "enabling referrers: Registries MUST include preexisting image manifests that are listed in an image index tagged "
    "with the referrers tag schema and have a valid `subject` field in the referrers API response."
)
REFERRERS_NEW = (
    "enabling referrers: After the referrers API is enabled, Registries MUST include all newly pushed image manifests "
    "with a valid `subject` field in the referrers API response."
)

# Deleting
TAG_DELETED = "end-9: Upon success, the registry MUST respond with a `202 Accepted` code. [tag]"
TAG_GONE = "end-9: Once deleted, a `GET` to `/v2/<name>/manifests/<tag>` will return a 404."
MANIFEST_DELETED = "end-9: Upon success, the registry MUST respond with a `202 Accepted` code. [manifest]"
MANIFEST_GONE = (
    "end-9: Once deleted, a `GET` to `/v2/<name>/manifests/<digest>` and any tag pointing to that digest will return "
    "a 404."
)
DELETE_NO_REPOSITORY = "end-9: If the repository does not exist, the response MUST return `404 Not Found`."
BLOB_DELETED = "end-10: Upon success, the registry MUST respond with code `202 Accepted`."
DELETE_NO_BLOB = "end-10: If the blob is not found, a `404 Not Found` code MUST be returned."
BLOB_DELETE_DISABLED = (
    "end-10: If blob deletion is disabled, the registry MUST respond with either a `400 Bad Request` or a `405 Method "
    "Not Allowed`."
)

# The API as a whole
HTTP_SEMANTICS = (
    "api: Where this specification does not define specific behavior, implementations SHOULD follow the HTTP "
    "semantics defined in RFC 9110."
)
NAMESPACE_HEADER = (
    "proxying: A registry that uses the `ns` query parameter to scope the request SHOULD return the `ns` query "
    "parameter value in the `OCI-Namespace` header."
)
ERROR_FORMAT = "errors: If the response body is in JSON format, it MUST have the following format [errors]"
ERROR_CODE_GRAMMAR = (
    "errors: The `code` field MUST be a unique identifier, containing only uppercase alphabetic characters and "
    "underscores."
)
ERROR_CODE_KNOWN = "errors: The `code` field MUST be one of the following"
ERROR_MESSAGE = (
    "errors: The `message` field is OPTIONAL, and if present, it SHOULD be a human readable string or MAY be empty."
)
RETRY_AFTER = "errors: A `429 Too Many Requests` response SHOULD include a `Retry-After` header"
WARNING_FORM = (
    "warnings: If included, `Warning` headers MUST specify a `warn-code` of `299` and a `warn-agent` of `-`, and MUST "
    "NOT specify a `warn-date` value."
)
WARNING_SIZE = "warnings: A registry MUST NOT send more than 4096 bytes of warning data from all headers combined."

ERROR_CODES = frozenset({
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
})  # fmt: skip


def must(condition: object, sentence: str, seen: object = "") -> None:
    """Fail with the sentence of the specification unless the condition holds; `seen` is what came instead."""
    assert condition, f"{sentence}\n  seen: {seen}"


def should(condition: object, sentence: str, seen: object = "") -> None:
    """The same for a SHOULD: this suite holds the registry to both."""
    must(condition, sentence, seen)
