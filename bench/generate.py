"""Fills an Entrepot's SQLite file with rows by the hundred thousand, without pushing them.

`python -m bench.generate DATA --tags 100000 --repositories 100000 --referrers 100000 --all-tags 1000000`: the server
must have made the file and must not be running.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import pathlib
import time
from collections.abc import Iterable, Iterator

import apsw

from bench.images import IMAGE_CONFIG, IMAGE_MANIFEST

NAMESPACE = "scale"
REPOSITORY = f"{NAMESPACE}/big"
READER = "scale-reader"
REPOSITORIES_A_NAMESPACE = 100
TAGS_A_REPOSITORY = 10_000
PAGE_NAMES = 100
EMPTY_CONFIG = b"{}"
ARTIFACT_TYPE = "application/vnd.example.sbom"
Row = tuple[object, ...]


@dataclasses.dataclass(frozen=True)
class Amount:
    """How much of everything."""

    tags: int
    repositories: int
    referrers: int
    all_tags: int


def find_database(data: pathlib.Path) -> pathlib.Path:
    """The SQLite file below a data folder, wherever the server keeps it."""
    for path in sorted(data.rglob("*")):
        if path.is_file() and path.stat().st_size >= 512 and path.open("rb").read(15) == b"SQLite format 3":
            return path
    raise FileNotFoundError(f"no SQLite file below {data}")


def tag_name(number: int) -> str:
    """Names of one length, in the order of their numbers."""
    return f"v1.0.{number:07d}"


def repository_name(number: int) -> str:
    """A hundred repositories a namespace, in the order of their numbers."""
    return f"{namespace_name(number // REPOSITORIES_A_NAMESPACE)}/app-{number % REPOSITORIES_A_NAMESPACE:03d}"


def namespace_name(number: int) -> str:
    """Namespaces in the order of their numbers."""
    return f"scale-{number:05d}"


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _manifest(subject: dict[str, object] | None = None, note: str = "") -> bytes:
    config = {"mediaType": IMAGE_CONFIG, "digest": _digest(EMPTY_CONFIG), "size": len(EMPTY_CONFIG)}
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": []}
    if subject:
        document |= {"artifactType": ARTIFACT_TYPE, "subject": subject, "annotations": {"note": note}}
    return json.dumps(document).encode()


SUBJECT = _manifest()
SUBJECT_DIGEST = _digest(SUBJECT)


class Filler:
    """Writes rows into one open file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.connection = apsw.Connection(str(path))
        self.now = time.time_ns() // 1000

    def fill(self, amount: Amount) -> None:
        """Everything in one transaction."""
        # Nobody waits for durability here, and a crash throws the whole folder away.
        self.connection.execute("pragma synchronous=off")
        self.connection.execute("begin immediate")
        self._add_namespace(NAMESPACE)
        big = self._add_repository(REPOSITORY)
        self._add_manifest(big, SUBJECT, None)
        self._add_tags(big, amount.tags)
        for number in range((amount.all_tags - amount.tags) // TAGS_A_REPOSITORY):
            self._add_tags(self._add_repository(f"{NAMESPACE}/tags-{number:05d}"), TAGS_A_REPOSITORY)
        self._add_repositories(amount.repositories)
        self._add_referrers(big, amount.referrers)
        self._add_reader()
        self.connection.execute("update policy set version = version + 1")
        self.connection.execute("commit")
        self.connection.execute("analyze")
        self.connection.close()

    def _many(self, sql: str, rows: Iterable[Row]) -> None:
        self.connection.executemany(sql, rows)

    def _one(self, sql: str, *values: object) -> int:
        row = self.connection.execute(sql, values).fetchone()
        assert row is not None
        return int(row[0])

    def _add_namespace(self, name: str) -> int:
        return self._one("insert into namespace (name, created_at) values (?, ?) returning id", name, self.now)

    def _add_repository(self, name: str) -> int:
        sql = (
            "insert into repository (namespace, name, created_at) "
            "values ((select id from namespace where name = ?), ?, ?) returning id"
        )
        return self._one(sql, name.partition("/")[0], name, self.now)

    def _add_tags(self, repository: int, count: int) -> None:
        sql = "insert into tag (repository, name, digest, generation, moved_at) values (?, ?, ?, 1, ?)"
        self._many(sql, ((repository, tag_name(number), SUBJECT_DIGEST, self.now) for number in range(count)))

    def _add_repositories(self, count: int) -> None:
        sql = "insert into repository (namespace, name, created_at) values (?, ?, ?)"
        for first in range(0, count, REPOSITORIES_A_NAMESPACE):
            namespace = self._add_namespace(namespace_name(first // REPOSITORIES_A_NAMESPACE))
            numbers = range(first, min(count, first + REPOSITORIES_A_NAMESPACE))
            self._many(sql, ((namespace, repository_name(number), self.now) for number in numbers))

    def _add_manifest(self, repository: int, raw: bytes, subject: str | None) -> None:
        self._many_manifests(repository, [(raw, subject)])

    def _many_manifests(self, repository: int, entries: Iterable[tuple[bytes, str | None]]) -> None:
        manifests, members, edges = [], [], []
        for raw, subject in entries:
            digest = _digest(raw)
            artifact_type = ARTIFACT_TYPE if subject else ""
            manifests.append((digest, IMAGE_MANIFEST, artifact_type, raw, self.now))
            members.append((repository, digest, "manifest", self.now))
            if subject:
                edges.append((digest, subject, "subject", artifact_type, _descriptor(digest, raw)))
        self._many(
            "insert into manifest (digest, media_type, artifact_type, raw, created_at) values (?, ?, ?, ?, ?)",
            manifests,
        )
        self._many("insert into member (repository, digest, kind, pushed_at) values (?, ?, ?, ?)", members)
        self._many("insert into edge (parent, child, kind, artifact_type, descriptor) values (?, ?, ?, ?, ?)", edges)

    def _add_referrers(self, repository: int, count: int) -> None:
        subject: dict[str, object] = {"mediaType": IMAGE_MANIFEST, "digest": SUBJECT_DIGEST, "size": len(SUBJECT)}

        def entries() -> Iterator[tuple[bytes, str | None]]:
            for number in range(count):
                yield _manifest(subject, f"{number:07d}"), SUBJECT_DIGEST

        self._many_manifests(repository, entries())

    def _add_reader(self) -> None:
        """A user with the administrator's password who may read every second namespace."""
        account = self._one(
            "insert into account (name, password_hash, credentials_since, created_at) "
            "select ?, password_hash, credentials_since, created_at from account where name = 'admin' returning id",
            READER,
        )
        granted = (
            f"select 'account', {account}, 'reader', name, 'admin', {self.now} from namespace "
            "where name like 'scale-%' and id % 2"
        )
        self.connection.execute(
            f'insert into "grant" (subject_kind, subject, role, resource, granted_by, granted_at) {granted}'
        )


def _descriptor(digest: str, raw: bytes) -> str:
    note = json.loads(raw)["annotations"]
    described = {"mediaType": IMAGE_MANIFEST, "digest": digest, "size": len(raw)}
    return json.dumps({**described, "artifactType": ARTIFACT_TYPE, "annotations": note}, separators=(",", ":"))


def fill(data: pathlib.Path, amount: Amount) -> None:
    """Fill the database below a data folder."""
    Filler(find_database(data)).fill(amount)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    for field in dataclasses.fields(Amount):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=100)
    options = vars(parser.parse_args())
    fill(options.pop("data"), Amount(**options))


if __name__ == "__main__":
    main()
