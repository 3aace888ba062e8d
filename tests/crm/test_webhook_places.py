"""Drops and archives of several accounts: which of them are nobody's."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.webhook_places import require_own_drop, sharing_archive
from enerflo_sync.errors import ConfigurationError

TABLES = """\
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    fields:
      status: {enerflo: status_name, type: text, source_of_truth: enerflo}
"""


def configured(tmp_path: Path, east: str, west: str) -> SyncConfig:
    path = tmp_path / "sync.yaml"
    path.write_text(f"version: 1\naccounts:\n  east: {{{east}}}\n  west: {{{west}}}\n{TABLES}")
    return load_config(path, {})


def drop(uri: str, archive: str | None = None, more: str = "") -> str:
    said = f"webhook_drop_uri: '{uri}'" + (f", webhook_archive_uri: '{archive}'" if archive else "")
    return f"{said}, {more}" if more else said


SAME = "accounts {0} and {1} have the same drop"
INSIDE = "the drop of account west lies in the drop of account east"
MIXED = [
    (drop("/drops/in"), drop("/drops/in/"), SAME),
    (drop("/drops/in"), drop("file:///drops/../drops/in"), SAME),
    (drop("s3://acme/in"), drop("s3a://acme/in/"), SAME),
    (drop("/drops"), drop("/drops/west"), INSIDE),
    (drop("s3://acme/in"), drop("s3://acme/in/west"), INSIDE),
    # Its account is called archive.
    (drop("s3://acme/east"), drop("s3://acme/archive"), "lies in the archive of account east"),
    (drop("s3://acme/east"), drop("s3://acme/archive/west"), "lies in the archive of account east"),
    (
        drop("/drops"),
        drop("/in", "/drops/old"),
        "the archive of account west lies in the drop of account east",
    ),
]
APART = [
    (drop("/drops/in"), "webhook_drop_uri: null"),
    (drop("/drops/in", "/a"), drop("/drops/in2", "/b")),
    (drop("s3://acme/in", "s3://acme/a"), drop("gs://acme/in", "gs://acme/a")),
    # Two stores, in each of which there is a bucket of that name.
    (
        drop("s3://acme/in", more="airflow: {storage_connection: first}"),
        drop("s3://acme/in", more="airflow: {storage_connection: second}"),
    ),
]


@pytest.mark.parametrize(("east", "west", "told"), MIXED)
def test_a_drop_in_which_another_accounts_files_would_be_taken_is_refused(
    tmp_path: Path, east: str, west: str, told: str
) -> None:
    config = configured(tmp_path, east, west)
    for one, other in (("east", "west"), ("west", "east")):
        with pytest.raises(ConfigurationError) as caught:
            require_own_drop(config, one)
        assert told.format(other, one) in str(caught.value)
        assert f"accounts.{one}.webhook_drop_uri" in str(caught.value)


@pytest.mark.parametrize(("east", "west"), APART)
def test_places_of_ones_own_are_used(tmp_path: Path, east: str, west: str) -> None:
    config = configured(tmp_path, east, west)
    for one in ("east", "west"):
        require_own_drop(config, one)
        assert sharing_archive(config, one) == []


@pytest.mark.parametrize(
    ("east", "west"),
    [
        # What docs/accounts.md once advised: the archive is beside both.
        (drop("s3://acme/east"), drop("s3://acme/west")),
        (drop("/drops/east"), drop("/drops/west")),
        (drop("/in/east", "/old"), drop("/in/west", "/old/west")),
    ],
)
def test_an_archive_that_others_have_a_part_in_is_known(tmp_path: Path, east: str, west: str) -> None:
    config = configured(tmp_path, east, west)
    for one, other in (("east", "west"), ("west", "east")):
        require_own_drop(config, one)
        assert sharing_archive(config, one) == [other]
