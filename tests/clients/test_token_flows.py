"""The token service as each client asks it: raw replays of recorded flows, for clients that are not at hand too."""

from __future__ import annotations

import pytest

from tests.clients.target import Registry
from tests.clients.wire import (
    bearer,
    challenge,
    get_token,
    ping,
    post_token,
    push_blob,
    push_manifest,
    start_upload,
    token_of,
)

pytestmark = pytest.mark.tier_a


def test_ping_is_challenged(registry: Registry) -> None:
    """`GET /v2/` without credentials names realm and service, and says which API this is."""
    answer = registry.request("GET", "/v2/", auth=None)
    found = challenge(answer)
    assert found.realm.startswith(registry.url)
    assert found.service
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def test_realm_speaks_tls(secure: Registry) -> None:
    """Behind TLS the realm is an https address of the host that the client called."""
    assert ping(secure).realm.startswith(secure.url)
    assert ping(secure.at("localhost")).realm.startswith(secure.at("localhost").url)


@pytest.mark.parametrize(
    ("method", "path", "actions"),
    [
        ("GET", "manifests/v1", {"pull"}),
        ("HEAD", "manifests/v1", {"pull"}),
        ("GET", "blobs/sha256:" + "0" * 64, {"pull"}),
        ("HEAD", "blobs/sha256:" + "0" * 64, {"pull"}),
        ("GET", "tags/list", {"pull"}),
        ("GET", "referrers/sha256:" + "0" * 64, {"pull"}),
        ("POST", "blobs/uploads/", {"pull", "push"}),
        ("PUT", "manifests/v1", {"pull", "push"}),
    ],
)
def test_every_challenge_names_its_scope(
    registry: Registry, repository: str, method: str, path: str, actions: set[str]
) -> None:
    """Each 401 below a repository says which scope would help, for HEAD and for uploads as well."""
    answer = registry.request(method, f"/v2/{repository}/{path}", auth=None)
    kind, _, rest = challenge(answer).scope.partition(":")
    name, _, wanted = rest.rpartition(":")
    assert (kind, name) == ("repository", repository)
    assert actions <= set(wanted.split(","))


def test_delete_is_challenged_for_deletion(registry: Registry, repository: str) -> None:
    """An anonymous delete is challenged with a scope that includes deletion."""
    answer = registry.request("DELETE", f"/v2/{repository}/manifests/v1", auth=None)
    wanted = challenge(answer).scope.rpartition(":")[2].split(",")
    assert "delete" in wanted or "*" in wanted


def test_catalogue_is_challenged(registry: Registry) -> None:
    """`_catalog` is challenged with `registry:catalog:*`, which podman search and crane then ask for."""
    found = challenge(registry.request("GET", "/v2/_catalog", auth=None))
    assert found.scope == "registry:catalog:*"
    token = token_of(get_token(registry, found.scope))
    assert registry.request("GET", "/v2/_catalog?n=1000", **bearer(token)).status_code == 200


def test_podman_search_falls_back(registry: Registry) -> None:
    """The first version's search is 404, which sends podman to the catalogue."""
    assert registry.request("GET", "/v1/search?q=x&n=25").status_code == 404
    assert registry.request("GET", "/v1/search?q=x&n=25", auth=None).status_code == 404


def test_docker_login_then_push_and_mount(registry: Registry, repository: str) -> None:
    """docker: an offline token at login, then POST with the refresh token, scopes joined by spaces."""
    answer = get_token(registry, account=registry.user, client_id="docker", offline_token="true")
    assert registry.request("GET", "/v2/", **bearer(token_of(answer))).status_code == 200
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"], "client_id": "docker"}
    first, second = f"{repository}/a", f"{repository}/b"
    token = token_of(post_token(registry, f"repository:{first}:push,pull", **refresh))
    digest = push_blob(registry, first, token)
    push_manifest(registry, first, token)
    token = token_of(post_token(registry, f"repository:{second}:push,pull repository:{first}:pull", **refresh))
    mounted = start_upload(registry, second, token, f"?from={first.replace('/', '%2F')}&mount={digest}")
    assert mounted.status_code == 201
    assert mounted.headers["Docker-Content-Digest"] == digest
    assert registry.request("HEAD", f"/v2/{second}/blobs/{digest}", **bearer(token)).status_code == 200


def test_without_offline_no_refresh_token(registry: Registry) -> None:
    """A GET without `offline_token` answers no refresh token."""
    assert "refresh_token" not in get_token(registry, account=registry.user).json()


def test_containerd_push_by_password(registry: Registry, repository: str) -> None:
    """containerd: no ping, a HEAD first, then POST with the password and the same repository twice in the scope."""
    source, target = f"{repository}/a", f"{repository}/b"
    found = challenge(registry.request("HEAD", f"/v2/{source}/manifests/v1", auth=None))
    assert found.scope == f"repository:{source}:pull"
    login = {"grant_type": "password", "username": registry.user, "password": registry.password}
    twice = f"repository:{source}:pull repository:{source}:pull,push"
    digest = push_blob(registry, source, token_of(post_token(registry, twice, **login)))
    scope = f"repository:{target}:pull repository:{target}:pull,push repository:{source}:pull"
    token = token_of(post_token(registry, scope, **login, client_id="containerd-client"))
    assert start_upload(registry, target, token, f"?mount={digest}&from={source}").status_code == 201


def test_buildkit_begins_with_an_empty_pair(registry: Registry, repository: str) -> None:
    """BuildKit: GET with an empty Basic pair is an anonymous request, not a wrong password."""
    scope = f"repository:{repository}:pull"
    query = {"service": ping(registry).service, "scope": scope}
    answer = registry.request("GET", ping(registry).path, params=query, auth=("", ""))
    token = token_of(answer)
    read = registry.request("GET", f"/v2/{repository}/manifests/v1", **bearer(token))
    assert challenge(read).scope == scope


def test_helm_login_without_scope(registry: Registry) -> None:
    """Helm 4: the login's POST has no scope at all, and its token answers the ping."""
    login = {"grant_type": "password", "username": registry.user, "password": registry.password}
    token = token_of(post_token(registry, "", **login, client_id="oras-go"))
    assert registry.request("GET", "/v2/", **bearer(token)).status_code == 200


def test_skopeo_repeats_the_parameter(registry: Registry, repository: str) -> None:
    """skopeo: GET with the account and one `scope` parameter a repository."""
    source, target = f"{repository}/a", f"{repository}/b"
    scopes = (f"repository:{target}:pull,push", f"repository:{source}:pull,push")
    token = token_of(get_token(registry, *scopes, account=registry.user))
    digest = push_blob(registry, source, token)
    assert start_upload(registry, target, token, f"?mount={digest}&from={source}").status_code == 201


@pytest.mark.parametrize("actions", ["*", "push,pull,delete", "delete,push,pull", "pull,push,*"])
def test_delete_in_all_spellings(registry: Registry, repository: str, actions: str) -> None:
    """skopeo asks `*` for a delete and crane `push,pull,delete`: either deletes."""
    token = token_of(get_token(registry, f"repository:{repository}:{actions}"))
    digest = push_manifest(registry, repository, token)
    assert registry.request("DELETE", f"/v2/{repository}/manifests/{digest}", **bearer(token)).status_code == 202
    assert registry.request("GET", f"/v2/{repository}/manifests/v1", **bearer(token)).status_code == 404


def test_crane_copy_names_the_origin(registry: Registry, repository: str) -> None:
    """crane: the mount carries `origin=` too, which changes nothing."""
    source, target = f"{repository}/a", f"{repository}/b"
    scopes = (f"repository:{target}:push,pull", f"repository:{source}:pull")
    digest = push_blob(registry, source, token_of(get_token(registry, f"repository:{source}:push,pull")))
    token = token_of(get_token(registry, *scopes))
    query = f"?from={source.replace('/', '%2F')}&mount={digest}&origin={registry.host.replace(':', '%3A')}"
    assert start_upload(registry, target, token, query).status_code == 201


def test_mount_is_challenged_for_both(registry: Registry, repository: str) -> None:
    """dxf and regshape begin a mount without a token: the challenge names the source as well as the target."""
    source, target = f"{repository}/a", f"{repository}/b"
    digest = push_blob(registry, source, token_of(get_token(registry, f"repository:{source}:push,pull")))
    query = f"?mount={digest}&from={source}"
    found = challenge(registry.request("POST", f"/v2/{target}/blobs/uploads/{query}", auth=None))
    assert set(found.scope.split()) == {f"repository:{target}:pull,push", f"repository:{source}:pull"}
    token = token_of(get_token(registry, *found.scope.split()))
    assert start_upload(registry, target, token, query).status_code == 201


def test_mount_without_rights_on_the_source(registry: Registry, repository: str) -> None:
    """A token that lacks the source repository falls back to an upload, or is asked to get more scope."""
    source, target = f"{repository}/a", f"{repository}/b"
    digest = push_blob(registry, source, token_of(get_token(registry, f"repository:{source}:push,pull")))
    token = token_of(get_token(registry, f"repository:{target}:push,pull"))
    assert start_upload(registry, target, token, f"?mount={digest}&from={source}").status_code in (202, 401)


def test_too_small_a_scope_is_told(registry: Registry, repository: str) -> None:
    """A pull token that is used to push gets a 401 that says so and names the scope to ask for."""
    token = token_of(get_token(registry, f"repository:{repository}:pull"))
    answer = start_upload(registry, repository, token)
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    found = challenge(answer)
    assert start_upload(registry, repository, token_of(get_token(registry, found.scope))).status_code == 202


@pytest.mark.parametrize(
    "scope",
    ["", "nonsense", "repository::pull", "repository:a", "registry:catalog:*", "repository:UPPER:pull", "a:b:c:d:e"],
)
def test_scopes_are_never_refused(registry: Registry, scope: str) -> None:
    """The token service leaves out what it cannot grant and answers 200 all the same."""
    token = token_of(get_token(registry, scope))
    assert registry.request("GET", "/v2/", **bearer(token)).status_code == 200


def test_wrong_passwords(registry: Registry, repository: str) -> None:
    """Wrong credentials are 401 at the token service by GET and by POST, and on the API itself."""
    wrong = (registry.user, "wrong")
    params = {"service": ping(registry).service, "scope": f"repository:{repository}:pull"}
    assert registry.request("GET", ping(registry).path, params=params, auth=wrong).status_code == 401
    login = {"grant_type": "password", "username": registry.user, "password": "wrong"}
    assert post_token(registry, "", **login).status_code in (400, 401)
    stale = {"grant_type": "refresh_token", "refresh_token": "not-one-of-ours"}
    assert post_token(registry, "", **stale).status_code in (400, 401)
    assert registry.request("GET", "/v2/", auth=wrong).status_code == 401
    assert registry.request("GET", "/v2/", **bearer("not.a.token")).status_code == 401


def test_basic_works_directly(registry: Registry, repository: str) -> None:
    """curl, dxf and oras-py use Basic on the API itself."""
    assert registry.request("GET", "/v2/").status_code == 200
    assert registry.request("POST", f"/v2/{repository}/blobs/uploads/").status_code == 202
    assert registry.request("HEAD", f"/v2/{repository}/blobs/sha256:{'0' * 64}").status_code == 404


def test_sigstore_probes_by_upload(registry: Registry, repository: str) -> None:
    """@sigstore/oci: the first request is an upload without credentials, then GET with the challenge's scope."""
    found = challenge(registry.request("POST", f"/v2/{repository}/blobs/uploads/", auth=None))
    token = token_of(get_token(registry, found.scope))
    push_manifest(registry, repository, token)
    zero = registry.request("GET", f"/v2/{repository}/referrers/sha256:{'0' * 64}", **bearer(token))
    assert zero.status_code == 200


def test_devcontainer_reads_then_writes(registry: Registry, repository: str) -> None:
    """The Dev Container CLI lists tags of nothing (404), then pushes with the scope of the upload's challenge."""
    found = challenge(registry.request("GET", f"/v2/{repository}/tags/list", auth=None))
    token = token_of(get_token(registry, found.scope))
    assert registry.request("GET", f"/v2/{repository}/tags/list", **bearer(token)).status_code == 404
    found = challenge(registry.request("POST", f"/v2/{repository}/blobs/uploads/", auth=None))
    push_manifest(registry, repository, token_of(get_token(registry, found.scope)))
    assert registry.tags(repository) == ["v1"]
