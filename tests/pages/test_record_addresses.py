"""A plan's page links each record to the page that explains it, under its table's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.addresses import Addresses
from enerflo_sync.crm.load import load_config
from enerflo_sync.pages.records import record_address

CONFIG = """
version: 1
accounts: {default: {}}
tables:
  milestones:
    crm_table: crm.milestones
    key: {enerflo_install_id: install_id, milestone_id: milestone_id}
    fields: {title: {enerflo: title, type: text}}
  permits:
    of: milestones
    crm_table: crm.permits
    key: {site: install_id, no: milestone_id}
    fields: {title: {enerflo: title, type: text}}
"""


@pytest.mark.parametrize(
    ("table", "key", "path"),
    [
        # PostgreSQL orders the parts of a stored key by their length.
        ("milestones", {"milestone_id": 5, "enerflo_install_id": 7}, "/record/default/milestones/7%2F5"),
        ("permits", {"no": 5, "site": 7}, "/record/default/permits/7%2F5"),
        # A table that is not mapped any more.
        ("notes", {"note_id": "n-1"}, "/record/default/notes/n-1"),
    ],
)
def test_a_record_is_named_as_the_command_line_names_it(
    tmp_path: Path, table: str, key: dict[str, object], path: str
) -> None:
    (tmp_path / "sync.yaml").write_text(CONFIG)
    tables = load_config(tmp_path / "sync.yaml", {}).tables_for("default")
    assert record_address(Addresses(), "default", tables, table, key) == path
