"""Columns that only plans name: the doctor knows them, a plan says which is not there, a report needs none."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.doctor import Severity, check_table
from enerflo_sync.crm.load import load_config
from tests.crm.conftest import check

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  leads:
    crm_table: crm.leads
    key: [lead_id]
    join: {enerflo_customer_id: customer_id}
    updated_at: updated_at
    create_in: [crm, enerflo]
    adopt: {lead_id: integration_record_id}
    create_when: {status: [qualified]}
    on_insert: {lead_id: "enerflo-{customer_id}", origin: Enerflo}
    fields:
      email: {enerflo: email, type: text, personal_data: email}
writes:
  lead:
    also: {lead_source: ["{campaign}", "{origin}"], rep: "{owner}"}
"""
TABLE = """
create schema crm;
create table crm.leads (lead_id text primary key, enerflo_customer_id bigint unique, email text, status text,
  origin text, campaign text, owner text, updated_at timestamptz);
create index on crm.leads (updated_at);
"""


@pytest.fixture
def crm(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(TABLE)
    return warehouse


def test_columns_that_are_there_give_nothing(crm: sa.Engine, tmp_path: Path) -> None:
    assert check(crm, tmp_path, CONFIG) == []


@pytest.mark.parametrize(
    ("old", "new", "what", "line"),
    [
        ("create_when: {status:", "create_when: {state:", "tables.leads.create_when.state", 11),
        ("adopt: {lead_id:", "adopt: {lead:", "tables.leads.adopt.lead", 10),
        ("origin: Enerflo", "source: Enerflo", "tables.leads.on_insert.source", 12),
    ],
)
def test_a_column_of_a_plan_that_is_not_there_is_an_error(
    crm: sa.Engine, tmp_path: Path, old: str, new: str, what: str, line: int
) -> None:
    (finding,) = check(crm, tmp_path, CONFIG.replace(old, new))
    assert (finding.severity, finding.what, finding.line) == (Severity.ERROR, what, line)
    assert finding.found == f"no column {what.rpartition('.')[2]} in crm.leads"
    config = load_config(tmp_path / "sync.yaml", {})
    with crm.connect() as connection:
        table, found = check_table(connection, config, "default", "leads", config.file, to_plan=False)
    assert table is not None
    assert found == []


def test_a_text_without_its_column_is_told(crm: sa.Engine, tmp_path: Path) -> None:
    (lost,) = check(crm, tmp_path, CONFIG, "alter table crm.leads drop column owner")
    assert (lost.severity, lost.what, lost.line) == (Severity.WARNING, "writes.lead.also.rep", 17)
    lost, other = check(crm, tmp_path, CONFIG, "alter table crm.leads drop column campaign")
    assert (lost.severity, lost.what) == (Severity.HINT, "writes.lead.also.lead_source")
    assert (lost.found, other.what) == ("no column campaign in crm.leads", "writes.lead.also.rep")
