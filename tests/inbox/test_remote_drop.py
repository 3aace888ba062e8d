"""A drop on S3, spoken to as in production: s3fs over a socket, here to moto's server."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import pytest
import s3fs

from enerflo_sync.drop.drop import Content, DropFile, NotRead
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.drop.remote import RemoteDrop
from enerflo_sync.errors import ConfigurationError
from tests.inbox.conftest import Inbox, ignored, update_install

TODAY = date(2026, 3, 5)


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Credentials and address where the storage's own library looks for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    # fsspec keeps one store per set of arguments, with the address that was set when it was made.
    s3fs.S3FileSystem.clear_instance_cache()
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


class Bucket:
    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.name = f"b-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=self.name)
        self.uri = f"s3://{self.name}/drop"

    def put(self, name: str, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.s3.put_object(Bucket=self.name, Key=f"drop/{name}", Body=data)

    def all_keys(self) -> list[str]:
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def archived(self) -> list[str]:
        return sorted(key.split("/", 4)[4] for key in self.all_keys() if key.startswith("archive/"))

    def waiting(self) -> list[str]:
        return [key.removeprefix("drop/") for key in self.all_keys() if key.startswith("drop/")]


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def read(drop: Any, limit: int = 1_000) -> list[Content | NotRead]:
    return list(drop.read(list(drop.waiting()), limit))


def test_objects_are_listed_read_and_moved(bucket: Bucket) -> None:
    bucket.put("a.json", b"{}")
    bucket.put("deep/er/b.json", b"[]")
    bucket.put("x.tmp", b"")
    bucket.put("_temporary/c.json", b"")
    drop = open_drop(bucket.uri)
    found = read(drop)
    assert [part.file.name for part in found] == ["a.json", "deep/er/b.json"]
    for part in found:
        assert isinstance(part, Content)
        assert drop.move(part, drop.archive_name(part, TODAY)) is None
    assert bucket.archived() == ["a.json", "deep/er/b.json"]
    assert bucket.waiting() == ["_temporary/c.json", "x.tmp"]


def test_an_ingest_from_a_bucket(inbox: Inbox, bucket: Bucket) -> None:
    one = inbox.world.install_id(0)
    bucket.put("a.json", update_install(one))
    bucket.put("b.json", b"nope")
    bucket.put("c.json", update_install(one))
    report = inbox.ingest(drop=open_drop(bucket.uri))
    assert report.state == "partial"
    assert inbox.states() == {"applied": 1}
    assert inbox.copies() == [2]
    assert inbox.reasons() == {"not_json": 1}
    assert bucket.waiting() == []
    assert bucket.archived() == ["a.json", "b.json", "c.json"]
    (evidence,) = inbox.rows("select evidence from enerflo.install_versions")
    assert evidence[0].startswith(f"s3://{bucket.name}/archive/")
    assert evidence[0].split("/", 3)[3] in bucket.all_keys()


def test_one_name_with_other_content_overwrites_nothing(inbox: Inbox, bucket: Bucket) -> None:
    for number in range(3):
        bucket.put("same.json", ignored(number))
        inbox.load(drop=open_drop(bucket.uri))
    keys = [key for key in bucket.all_keys() if key.startswith("archive/")]
    bodies = {bucket.s3.get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in keys}
    assert bodies == {json.dumps(ignored(number)).encode() for number in range(3)}


def test_an_object_that_vanished_is_said_and_the_others_go_on(inbox: Inbox, bucket: Bucket) -> None:
    class Vanishing(RemoteDrop):
        def read(self, files: Any, limit: int) -> Any:
            bucket.s3.delete_object(Bucket=bucket.name, Key="drop/b.json")
            return super().read(files, limit)

    for name in "abc":
        bucket.put(f"{name}.json", ignored(ord(name)))
    report = inbox.load(drop=Vanishing(bucket.uri, f"s3://{bucket.name}/archive"))
    assert (report.state, report.skipped) == ("ok", 2)
    assert report.reasons["notice"]["vanished before it was read"] == 1


def test_an_object_replaced_between_read_and_move_stays_and_is_read_again(
    inbox: Inbox, bucket: Bucket
) -> None:
    class Replacing(RemoteDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            bucket.put("a.json", ignored(2))
            return super().move(content, archived_uri)

    bucket.put("a.json", ignored(1))
    assert inbox.load(drop=Replacing(bucket.uri, f"s3://{bucket.name}/archive")).state == "partial"
    assert bucket.waiting() == ["a.json"]
    assert inbox.load(drop=open_drop(bucket.uri)).state == "ok"
    assert inbox.copies() == [1, 1]


def test_an_object_replaced_within_the_move_is_not_lost(bucket: Bucket) -> None:
    """Another object comes under the name after the check and before the copy."""
    bucket.put("a.json", b"first")
    drop = open_drop(bucket.uri)
    (content,) = read(drop)
    assert isinstance(content, Content)
    copy = drop._fs.cp_file  # type: ignore[attr-defined]

    def late(source: str, target: str, **_: object) -> None:
        bucket.put("a.json", b"second")
        copy(source, target)

    drop._fs.cp_file = late  # type: ignore[attr-defined]
    try:
        drop.move(content, drop.archive_name(content, TODAY))
    finally:
        drop._fs.cp_file = copy  # type: ignore[attr-defined]
    # What nobody has read waits in the drop.
    assert bucket.waiting() == ["a.json"]


def test_killed_between_copy_and_delete_it_counts_once(inbox: Inbox, bucket: Bucket) -> None:
    drop = open_drop(bucket.uri)

    class Killed(RemoteDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            source, target = (self._fs._strip_protocol(uri) for uri in (content.file.uri, archived_uri))
            self._fs.copy(source, target)
            raise KeyboardInterrupt

    bucket.put("a.json", ignored(1))
    with pytest.raises(KeyboardInterrupt):
        inbox.load(drop=Killed(bucket.uri, f"s3://{bucket.name}/archive"))
    inbox.load(drop=drop)
    assert inbox.copies() == [1]
    assert bucket.waiting() == []
    assert bucket.archived() == ["a.json"]


def test_an_empty_prefix_is_an_empty_drop(inbox: Inbox, bucket: Bucket) -> None:
    assert inbox.load(drop=open_drop(bucket.uri)).state == "ok"


def test_the_folder_marker_of_a_console_is_no_file(inbox: Inbox, bucket: Bucket) -> None:
    bucket.put("", b"")
    bucket.put("sub/", b"")
    bucket.put("a.json", ignored(1))
    report = inbox.load(drop=open_drop(bucket.uri))
    assert (report.state, report.read) == ("ok", 1)


def test_a_missing_bucket_is_one_clear_error(s3: Any) -> None:
    with pytest.raises(ConfigurationError, match="does not exist") as caught:
        list(open_drop("s3://no-such-bucket-anywhere/drop").waiting())
    assert caught.value.where == "webhook_drop_uri"


def test_credentials_that_may_not_list_are_one_clear_error(
    inbox: Inbox, bucket: Bucket, endpoint: str
) -> None:
    import requests

    # From here on moto checks rights, as the store does; this key has none.
    requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        with pytest.raises(ConfigurationError) as caught:
            inbox.load(drop=open_drop(bucket.uri))
        assert "testing" not in str(caught.value)
    finally:
        requests.post(f"{endpoint}/moto-api/reset-auth", data=b"Infinity", timeout=10)


def test_no_bucket_is_made(inbox: Inbox, bucket: Bucket) -> None:
    """A misspelt archive is an error to be told, and nothing to be created in somebody's account."""
    name = f"misspelt-{bucket.name}"
    bucket.put("a.json", ignored(1))
    report = inbox.load(drop=open_drop(bucket.uri, f"s3://{name}/archive"))
    assert name not in {one["Name"] for one in bucket.s3.list_buckets()["Buckets"]}
    assert report.state == "partial"
    assert bucket.waiting() == ["a.json"]


def test_an_archive_that_may_not_be_written_keeps_the_files_and_counts_once(
    inbox: Inbox, bucket: Bucket
) -> None:
    bucket.put("a.json", ignored(1))
    # No store makes a bucket of this name, which is too short.
    drop = open_drop(bucket.uri, "s3://x/archive")
    for _ in range(2):
        report = inbox.load(drop=drop)
        assert report.state == "partial"
        assert bucket.waiting() == ["a.json"]
    assert inbox.load(drop=open_drop(bucket.uri)).state in ("ok", "partial")
    assert inbox.copies() == [1]


def test_retention_deletes_by_day(inbox: Inbox, bucket: Bucket) -> None:
    for key in ("archive/2026/01/01/a.json", "archive/2026/01/01/b/c.json", "archive/2026/03/01/d.json"):
        bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    report = inbox.load(drop=open_drop(bucket.uri), keep_archive=timedelta(days=30))
    assert bucket.all_keys() == ["archive/2026/03/01/d.json"]
    assert report.reasons["notice"] == {"archived, deleted by age": 2}


def test_a_file_of_the_archive_is_given_another_content_or_taken_away(bucket: Bucket) -> None:
    for name in ("a[1].json", "b.json"):
        bucket.s3.put_object(Bucket=bucket.name, Key=f"archive/2026/01/01/{name}", Body=b"before")
    drop = open_drop(bucket.uri)
    files = list(drop.archived(datetime(2026, 2, 1, tzinfo=UTC)))
    assert [(file.uri.rpartition("/")[2], file.size) for file in files] == [("a[1].json", 6), ("b.json", 6)]
    drop.replace(files[0].uri, b"after")
    drop.remove([files[1].uri, files[1].uri])
    assert bucket.all_keys() == ["archive/2026/01/01/a[1].json"]
    assert [one.data for one in drop.read([DropFile("a", files[0].uri)], 100)] == [b"after"]


def test_retention_of_an_archive_that_is_not_there_yet(inbox: Inbox, bucket: Bucket) -> None:
    report = inbox.load(drop=open_drop(bucket.uri), keep_archive=timedelta(days=30))
    assert report.state == "ok"


@pytest.mark.parametrize(
    "name",
    [
        "a b'c\"#1?.json",
        "100%.json",
        "ü.json",
        "a+b&c=d.json",
        "x[1].json",
    ],
)
def test_odd_names_are_names(inbox: Inbox, bucket: Bucket, name: str) -> None:
    bucket.put(name, ignored(1))
    report = inbox.load(drop=open_drop(bucket.uri))
    assert (report.state, report.skipped) == ("ok", 1)
    assert bucket.waiting() == []
    assert [key for key in bucket.all_keys() if not key.startswith("archive/2")] == []


def test_a_name_that_reads_as_a_pattern_moves_that_file_alone(inbox: Inbox, bucket: Bucket) -> None:
    """The second is written after the first was read: nobody may move it."""

    class Late(RemoteDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            bucket.put("other.json", ignored(2))
            return super().move(content, archived_uri)

    bucket.put("*.json", ignored(1))
    report = inbox.load(drop=Late(bucket.uri, f"s3://{bucket.name}/archive"))
    assert report.state == "ok"
    assert bucket.archived() == ["*.json"]
    assert bucket.waiting() == ["other.json"]


def test_the_time_of_arrival_is_the_stores(inbox: Inbox, bucket: Bucket) -> None:
    bucket.put("a.json", b"{}")
    (content,) = read(open_drop(bucket.uri))
    assert isinstance(content, Content)
    assert content.modified_at.utcoffset() == timedelta(0)


def test_young_objects_settle(bucket: Bucket) -> None:
    bucket.put("a.json", b"{}")
    assert list(open_drop(bucket.uri, settle_seconds=60).waiting()) == []
    assert [file.name for file in open_drop(bucket.uri, settle_seconds=0).waiting()] == ["a.json"]


def test_a_vanished_object_is_no_error_of_the_read(bucket: Bucket) -> None:
    gone = DropFile("gone.json", f"{bucket.uri}/gone.json")
    (found,) = open_drop(bucket.uri).read([gone], 100)
    assert isinstance(found, NotRead)
    assert found.vanished


def test_a_drop_in_memory_keeps_the_same_guarantees(inbox: Inbox) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    place = f"/{uuid.uuid4().hex}/drop"
    memory.pipe(f"{place}/a.json", json.dumps(ignored(1)).encode())
    drop = open_drop(f"memory:/{place}")
    assert inbox.load(drop=drop).skipped == 1
    assert memory.find(place) == []
    assert len(memory.find(place.replace("/drop", "/archive"))) == 1
