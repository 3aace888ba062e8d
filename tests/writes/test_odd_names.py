"""Schemas, tables and columns of the CRM may have any name: all jobs end as with plain names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from enerflo_sync import frames
from enerflo_sync.crm.doctor import Severity, check_mapping
from enerflo_sync.crm.live.grants import grants_sql
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.suggest import run_suggest
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.jobs.what_if import run_what_if
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk

ON_HOLD = 4
# Names that our own statements give to rows and columns.
OURS = (
    "t p n id key v done field after before enerflo_key theirs ours record not_kept o r e d m c l s u x k w b i"
    " f g h q y z due value crm enerflo position reason now"
).split()
# The columns that get those names, each another one.
PLAIN = (
    "status panel_count enerflo_install_id deal_id customer_name updated_at system_size_kw panel_type"
    " battery_configuration contract_amount milestone_id title started_at due_at completed_at note_id"
    " enerflo_note_id author body created_at lead_id enerflo_customer_id enerflo_change_order_id first_name"
    " last_name email mobile address city state zip deal_type_id signed_at adders gone installs notes milestones"
).split()

Names = Callable[[str], str]
NAMES: dict[str, Names] = {
    "of parameters": lambda name: f"%({name})s :{name} %s",
    "with quotes": lambda name: f"a\"{name}'\\",
    "of 63 bytes": lambda name: f"{name} {'ü' * 40}".encode()[:63].decode(errors="ignore"),
    "with blanks, dots and comments": lambda name: f" a.{name} */ -- /*\n",
    "of our own statements": lambda name: OURS[PLAIN.index(name)] if name in PLAIN else name,
}


def quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


class Renamed:
    """The desk's CRM under other names, and the mapping that names it so."""

    def __init__(self, desk: Desk, renamed: Names) -> None:
        self.desk, self.renamed = desk, renamed
        whole = yaml.safe_load((desk.folder / "sync.yaml").read_text())
        for table, mapping in whole["tables"].items():
            self._rename(table, mapping)
        installs = whole["tables"]["installs"]
        self.sql(f"alter table {self.table('installs')} add {self.column('gone')} boolean")
        installs["deleted_when"] = {renamed("gone"): True}
        installs["where"] = f"{self.column('panel_count')} is distinct from 7777"
        installs["fields"][renamed("deal_id")]["values"] = {"%s :x": "%(a)s \\"}
        note, author, deal = (f"{{{renamed(name)}}}" for name in ("body", "author", "deal_type_id"))
        whole["writes"]["note"]["text"] = [f"{note}\n\n{author} (CRM)", note]
        whole["writes"]["lead"]["also"] = {"createDeal": deal}
        self.whole = whole
        self.write(desk.folder / "sync.yaml")
        desk.read_configuration()

    def _rename(self, table: str, mapping: dict[str, Any]) -> None:
        renamed = self.renamed
        live = self.sql(
            f"select attname from pg_attribute where attrelid = 'crm.{table}'::regclass and attnum > 0"
        )
        schema = quoted(renamed("crm"))
        for step in ("aside ", ""):
            for (column,) in live:
                now, then = (f"aside {column}", renamed(column)) if not step else (column, f"aside {column}")
                self.sql(f"alter table crm.{table} rename {quoted(now)} to {quoted(then)}")
        self.sql(f"create schema if not exists {schema}")
        self.sql(f"alter table crm.{table} rename to {quoted('aside ' + table)}")
        self.sql(f"alter table crm.{quoted('aside ' + table)} set schema {schema}")
        self.sql(f"alter table {schema}.{quoted('aside ' + table)} rename to {quoted(renamed(table))}")
        mapping["crm_table"] = self.table(table)
        for option in ("key", "join", "adopt", "create_when", "on_insert", "fields"):
            match mapping.get(option):
                case list() as names:
                    mapping[option] = [*map(renamed, names)]
                case dict() as named:
                    mapping[option] = {renamed(name): value for name, value in named.items()}
        mapping["updated_at"] = renamed(mapping["updated_at"])

    def table(self, name: str) -> str:
        return quoted(self.renamed("crm"), self.renamed(name))

    def column(self, name: str) -> str:
        return quoted(self.renamed(name))

    def write(self, path: Path) -> None:
        path.write_text(yaml.safe_dump(self.whole, allow_unicode=True, sort_keys=False))

    def sql(self, statement: str) -> list[Any]:
        url = self.desk.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            result = connection.execute(statement.encode())
            return result.fetchall() if result.description else []

    def of(self, install: int, column: str) -> Any:
        """Return a value of an install's row."""
        named = f"{self.column('enerflo_install_id')} = {install}"
        ((value,),) = self.sql(f"select {self.column(column)} from {self.table('installs')} where {named}")
        return value

    def edit(self, install: int, column: str, value: str) -> None:
        self.sql(
            f"update {self.table('installs')} set {self.column(column)} = '{value}',"
            f" {self.column('updated_at')} = clock_timestamp() where {self.column('enerflo_install_id')} = {install}"
        )


@pytest.mark.parametrize("names", NAMES)
def test_all_jobs_end_as_with_plain_names(agreed: Desk, names: str, tmp_path: Path) -> None:
    desk = agreed
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    first, second, third, fourth = (
        row["id"]
        for row in desk.sql(
            "select install_id as id from enerflo.installs where status_id = :s and deleted_at is null"
            " order by 1 limit 4",
            s=desk.a_site().status_id,
        )
    )
    before = desk.crm("installs", enerflo_install_id=first)["status"]
    crm = Renamed(desk, NAMES[names])
    with desk.engine.connect() as connection:
        found = check_mapping(connection, desk.context.config, "default", Path("sync.yaml"))
        granted = grants_sql(connection, desk.context.config, "default", "postgres")
    assert [one for one in found if one.severity is not Severity.HINT] == []
    crm.sql(granted)
    assert run_reconcile(desk.context).differences == 0
    desk.settled()
    desk.world.set_status(first, ON_HOLD)
    desk.world.resubmit_install(second, panel_count=41)
    crm.edit(third, "status", "On Hold")
    crm.edit(fourth, "customer_name", "Someone else")
    new = desk.world.create_install()
    columns = ", ".join(
        map(crm.column, ("note_id", "enerflo_install_id", "author", "body", "created_at", "updated_at"))
    )
    crm.sql(
        f"insert into {crm.table('notes')} ({columns})"
        f" values ('N%s:1', {first}, 'Ann', 'by %s :x', now(), now())"
    )
    run_poll(desk.context)
    plan = desk.plan()
    assert desk.page(plan)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.parked, report.moved, report.waiting) == (0, 0, 0)
    assert (crm.of(first, "status"), crm.of(second, "panel_count")) == ("On Hold", 41)
    assert crm.of(new, "status") is not None
    assert [one.body["status_id"] for one in desk.world.received if "status_id" in one.body] == [ON_HOLD]
    assert [one.body["note"] for one in desk.world.received if "note" in one.body] == [
        "by %s :x\n\nAnn (CRM)"
    ]
    desk.settled()
    again = run_reconcile(desk.context, full=True)
    # The note stands there with its author.
    assert [{**one.by_cause} for one in again.tables if one.by_cause] == [
        {Cause.EQUAL_AFTER_NORMALISATION: 1}
    ]
    assert "On Hold" in render_explanation(run_explain(desk.context, "install", str(first)))
    assert "N%s:1" in render_explanation(run_explain(desk.context, "note", "N%s:1"))
    assert len(frames.plan(desk.context, plan.plan_hash)) == plan.change_count
    assert run_suggest(desk.context, None, desk.environ).lines == []
    crm.whole["tables"]["installs"]["fields"][crm.renamed("customer_name")]["source_of_truth"] = "crm"
    crm.write(tmp_path / "other.yaml")
    assert run_what_if(desk.context, tmp_path / "other.yaml", desk.environ)
    undo = run_undo(desk.context, plan.plan_hash)
    report = run_apply(desk.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, report.moved) == (undo.change_count, 0, 0)
    assert crm.of(first, "status") == before
