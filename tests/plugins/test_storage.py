"""A drop on S3 that an Airflow connection opens: Amazon's provider, s3fs, and moto's server behind a socket."""

from __future__ import annotations

import json
import os
import uuid
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
from enerflo_airflow.drops import DropWatch
from enerflo_airflow.hook import open_account

from enerflo_sync.drop.drop import Content
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.archive_again import archive_again
from enerflo_sync.jobs.context import open_account as open_on_the_command_line
from enerflo_sync.jobs.ingest import open_account_drop
from tests.airflow_fixtures import Setting

TODAY = date(2026, 3, 5)


@pytest.fixture
def bucket(endpoint: str, connected: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket whose credentials stand in an Airflow connection, and nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # No machine's profile or role either.
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    config = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    before = "airflow: {enerflo_connection"
    assert before in config.read_text()
    config.write_text(
        config.read_text().replace(before, "airflow: {storage_connection: drop_store, enerflo_connection")
    )
    monkeypatch.setenv("AIRFLOW_CONN_DROP_STORE", aws_connection(endpoint))
    s3 = boto3.resource(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    found = s3.create_bucket(Bucket=f"b-{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("WEBHOOK_DROP_URI", f"s3://{found.name}/drop")
    return found


def aws_connection(endpoint: str) -> str:
    extra = {"region_name": "us-east-1", "endpoint_url": endpoint}
    return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra})


def keys(bucket: Any) -> list[str]:
    return sorted(one.key for one in bucket.objects.all())


def test_a_bucket_is_listed_read_and_archived_by_the_connection_that_the_account_names(bucket: Any) -> None:
    bucket.put_object(Key="drop/a.json", Body=b'{"a": 1}')
    with closing(open_account("default")) as opened:
        drop = open_account_drop(opened)
        (file,) = drop.waiting()
        (content,) = drop.read([file], 1_000)
        assert isinstance(content, Content)
        assert content.data == b'{"a": 1}'
        assert drop.move(content, drop.archive_name(content, TODAY)) is None
        assert keys(bucket) == ["archive/2026/03/05/a.json"]
        with opened.engine.connect() as connection:
            again = archive_again(connection, drop, "default", TODAY)
        assert [one.name for one in again.waiting()] == ["2026/03/05/a.json"]
    # The address that is stored with events names neither the connection nor its login.
    assert file.uri == f"s3://{bucket.name}/drop/a.json"


def test_the_watcher_sees_what_comes_while_it_looks(bucket: Any) -> None:
    watch = DropWatch("default")
    bucket.put_object(Key="drop/a.json", Body=b"{}")
    assert watch.names() == {"a.json"}
    bucket.put_object(Key="drop/b.json", Body=b"{}")
    assert watch.names() == {"a.json", "b.json"}


def test_the_command_line_takes_the_connection_where_it_takes_airflows(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ENERFLO_API_KEY", "WAREHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)
    bucket.put_object(Key="drop/a.json", Body=b"{}")
    config = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    with closing(open_on_the_command_line("default", os.environ, config)) as opened:
        assert [file.name for file in open_account_drop(opened).waiting()] == ["a.json"]


def test_a_connection_that_is_not_there_is_named(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_DROP_STORE")
    with (
        pytest.raises(ConfigurationError, match=r"drop_store.*not defined"),
        closing(open_account("default")) as opened,
    ):
        open_account_drop(opened)


def test_a_storage_without_a_provider_is_named_with_the_package(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_DROP_URI", "gs://somewhere/drop")
    with (
        pytest.raises(ConfigurationError, match=r"opens gs://.*apache-airflow-providers-google"),
        closing(open_account("default")) as opened,
    ):
        open_account_drop(opened)


def test_a_folder_needs_no_connection(bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_DROP_STORE")
    (tmp_path / "drop").mkdir()
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(tmp_path / "drop"))
    with closing(open_account("default")) as opened:
        assert list(open_account_drop(opened).waiting()) == []
