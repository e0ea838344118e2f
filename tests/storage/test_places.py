"""What a storage.url of an object store may look like, for every scheme."""

from __future__ import annotations

import importlib
import json
import pathlib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from entrepot.domain.errors import Unavailable
from entrepot.ports.store import Abilities, BlobStore
from entrepot.storage._objects import parse_place
from tests.support.asgi import run


def open_store(url: str) -> BlobStore:
    """Open the store behind a url, as the application does."""
    store: BlobStore = importlib.import_module(f"entrepot.storage.{url.partition('://')[0]}").open_store(url)
    return store


@pytest.mark.parametrize(
    ("url", "name", "prefix", "options"),
    [
        ("s3://bucket", "bucket", None, {}),
        ("s3://bucket/", "bucket", None, {}),
        ("s3://bucket/a/b/", "bucket", "a/b", {}),
        ("s3://bucket?one=http%3A%2F%2Fh%3A1", "bucket", None, {"one": "http://h:1"}),
        ("s3://bucket/a?one=http://h:1&two=x", "bucket", "a", {"one": "http://h:1", "two": "x"}),
    ],
)
def test_places(url: str, name: str, prefix: str | None, options: dict[str, str]) -> None:
    """A name, a prefix if there is one, and options."""
    place = parse_place(url, frozenset({"one", "two"}), "FORM")
    assert (place.name, place.prefix, place.options) == (name, prefix, options)


@pytest.mark.parametrize("scheme", ["s3", "azure", "gs"])
@pytest.mark.parametrize("rest", ["", "/prefix", "b?unknown=1", "key:secret@b", "b:80", "B", "b?region", "[x"])
def test_places_that_are_refused(scheme: str, rest: str) -> None:
    """The message shows the form, and nothing of what was given: it may hold a secret by mistake."""
    with pytest.raises(Unavailable, match=f"storage.url is {scheme}://") as caught:
        open_store(f"{scheme}://{rest}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "environment", "address"),
    [
        (
            "s3://bucket/pre?region=eu-central-1",
            {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
            "https://s3.eu-central-1.amazonaws.com/bucket/pre/key?",
        ),
        (
            "s3://bucket/pre?endpoint=http://10.0.0.1:8333&public_endpoint=https://s3.example.org",
            {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
            "https://s3.example.org/bucket/pre/key?",
        ),
        (
            "azure://container/pre?account=name",
            {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"},
            "https://name.blob.core.windows.net/container/pre/key?",
        ),
        (
            "azure://container/pre?account=name&public_endpoint=https://cdn.example.org",
            {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"},
            "https://cdn.example.org/container/pre/key?",
        ),
    ],
)
def test_addresses_that_are_signed(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], address: str
) -> None:
    """Of the provider, or of the public endpoint where there is one; nobody is asked for it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    abilities = Abilities.of(open_store(url))
    signs = abilities.signs
    assert signs is not None
    assert (abilities.stored is None, abilities.files, abilities.forgets, abilities.probes) == (False, None, None, None)
    assert abilities.chunks is not None
    assert run(signs.sign("key", 1800)).startswith(address)


def test_a_bucket_of_google(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """The store of a gs:// url opens with a service account, without asking anybody; it lists, and signs for the public
    endpoint where there is one.
    """
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {
        "gcs_base_url": "http://127.0.0.1:1",
        "client_email": "entrepot@project.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "private_key_id": "1",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    assert Abilities.of(open_store("gs://bucket/prefix")).stored is not None
    for options, base in (
        ("", "http://127.0.0.1:1"),
        ("?public_endpoint=https://gs.example.org", "https://gs.example.org"),
    ):
        signs = Abilities.of(open_store(f"gs://bucket/prefix{options}")).signs
        assert signs is not None
        assert run(signs.sign("key", 1800)).startswith(f"{base}/bucket/prefix/key?X-Goog-Algorithm=GOOG4-RSA-SHA256&")
