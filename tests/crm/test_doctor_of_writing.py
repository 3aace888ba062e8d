"""What cannot be written is told where the mode writes it: read-only views, generated and computed columns."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.doctor import Finding, Severity
from tests.crm.conftest import check

CONFIG = """\
version: 1
accounts: {default: {mode: crm}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text}
      panel_count: {enerflo: panel_count, type: integer}
"""
COLUMNS = "enerflo_install_id bigint primary key, status text, panel_count integer, updated_at timestamptz"
TABLE = f"""
create schema crm;
create table crm.base ({COLUMNS});
create view crm.plain as select * from crm.base;
create view crm.only_read as select distinct * from crm.base;
create view crm.computed as select enerflo_install_id, status, panel_count + 1 as panel_count, updated_at
  from crm.base;
create table crm.generated ({COLUMNS.replace("integer", "integer generated always as (12) stored")});
create table crm.numbered ({COLUMNS.replace("bigint", "bigint generated always as identity")});
create view crm.told as select distinct * from crm.base;
create function crm.tell() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger tell instead of update on crm.told for each row execute function crm.tell();
"""


def told(engine: sa.Engine, folder: Path, table: str, text: str = CONFIG) -> list[Finding]:
    found = check(engine, folder, text.replace("crm.installs", table), TABLE)
    return [finding for finding in found if finding.severity is not Severity.HINT]


@pytest.mark.parametrize(
    ("table", "what", "found"),
    [
        ("crm.only_read", "crm_table", "crm.only_read, which takes no updates"),
        ("crm.computed", "fields.panel_count", "column panel_count, which takes no value"),
        ("crm.generated", "fields.panel_count", "column panel_count, which takes no value"),
        ("crm.numbered", "key.enerflo_install_id", "column enerflo_install_id, which takes no value"),
    ],
)
def test_what_cannot_be_written_is_told(
    warehouse: sa.Engine, tmp_path: Path, table: str, what: str, found: str
) -> None:
    (finding,) = told(warehouse, tmp_path, table)
    assert (finding.severity, finding.what) == (Severity.WARNING, f"tables.installs.{what}")
    assert finding.found == found


@pytest.mark.parametrize("table", ["crm.base", "crm.plain", "crm.told"])
def test_what_can_be_written_is_not(warehouse: sa.Engine, tmp_path: Path, table: str) -> None:
    assert told(warehouse, tmp_path, table) == []


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("crm.only_read", "mode: crm", "mode: enerflo"),
        ("crm.generated", "type: integer", "type: integer, direction: to_enerflo"),
        ("crm.numbered", "    fields:", "    create_in: []\n    fields:"),
    ],
)
def test_what_is_only_read_may_be_anything(
    warehouse: sa.Engine, tmp_path: Path, table: str, old: str, new: str
) -> None:
    assert told(warehouse, tmp_path, table, CONFIG.replace(old, new)) == []
