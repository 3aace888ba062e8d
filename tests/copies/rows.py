"""One small table in another database, and changes that are handed over for its rows, put there one by one."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from enerflo_sync.agreed.whole_rows import row_digest
from enerflo_sync.agreed.written import of_key
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.refresh import CopyReport, refresh_copies
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import live_comparisons

if TYPE_CHECKING:
    from tests.copies.conftest import Elsewhere

CONFIG = """
version: 1
accounts: {default: {mode: both, crm: {url: "${CRM_URL}"}}}
tables:
  milestones:
    crm_table: crm.rows
    key: [own]
    join: {install: install_id, milestone: milestone_id}
    where: "kind <> 'out'"
    deleted_when: {gone: true}
    updated_at: updated_at
    delete_in: [crm]
    fields:
      title: {enerflo: title, type: text}
      sequence: {enerflo: sequence, type: integer}
"""
WHERE = "    where: \"kind <> 'out'\"\n"
MARKED = "    deleted_when: {gone: true}\n"
COLUMNS = ("own", "install", "milestone", "title", "sequence", "gone", "kind", "updated_at")
# Those that the mapping names, and so the copy has.
MAPPED = tuple(name for name in COLUMNS if name != "kind")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
COPY = 'crm_copies."default.milestones"'


class Rows:
    """The table with its copy in the warehouse, and what is handed over for it."""

    def __init__(self, engine: sa.Engine, elsewhere: Elsewhere, folder: Path) -> None:
        self.engine, self.elsewhere, self._folder = engine, elsewhere, folder
        self._position = 0
        self.crm = CrmConnections(lambda: elsewhere.engine)
        self.config = self.configured()
        elsewhere.make_schema()
        types = elsewhere.types
        declared = {
            **dict.fromkeys(("own", "title", "kind"), types["text"]),
            **dict.fromkeys(("install", "milestone", "sequence"), types["int8"]),
            **{"gone": types["bool"], "updated_at": types["timestamptz"]},
        }
        # As by a default that every new row of the CRM gets.
        declared["kind"] += " default 'in'"
        columns = ", ".join(f"{elsewhere.quoted(name)} {declared[name]}" for name in COLUMNS)
        elsewhere.sql(f"create table crm.rows ({columns})")

    def configured(self, *edits: tuple[str, str]) -> SyncConfig:
        """Return the configuration with some of its texts replaced."""
        text = CONFIG
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path = self._folder / "sync.yaml"
        path.write_text(text)
        self.config = load_config(path, {"CRM_URL": self.elsewhere.url})
        return self.config

    def row(self, own: str, **values: Any) -> None:
        """Put a row into the other database."""
        row = {"own": own, "install": 1, "milestone": 1, "gone": False, "kind": "in", "sequence": 1} | values
        names = ", ".join(self.elsewhere.quoted(name) for name in row)
        places = ", ".join(f":{name}" for name in row)
        self.elsewhere.sql(f"insert into crm.rows ({names}) values ({places})", **row)

    def edit(self, own: str, change: str, at: datetime) -> None:
        """Change a row of the other database, which dates that."""
        change = change if "updated_at" in change else f"{change}, updated_at = :at"
        where = f"update crm.rows set {change} where own = :own"
        self.elsewhere.sql(where, own=own, at=at)

    def one_copied_at(self) -> datetime:
        """Return as of when the copy is."""
        return self.sql("select read_at from sync.crm_copies")[0]["read_at"]

    def refresh(self) -> CopyReport:
        (report,) = refresh_copies(self.engine, self.crm, self.config, "default")
        self._see_deletions()
        return report

    def _see_deletions(self) -> None:
        """Let the plans of deletions have seen the rows as the first copy after them has these."""
        if not self.sql("select from sync.plan_changes where op = 'delete' and row_digest is null limit 1"):
            return
        with self.engine.begin() as connection:
            plan = self.plan(connection)
            connection.exec_driver_sql(
                f"update sync.plan_changes p set row_digest = {row_digest(plan)} from {plan.crm} t"
                f" where p.op = 'delete' and p.row_digest is null and {of_key(plan, 'p.key')}",
                {},
            )

    def plan(self, connection: sa.Connection) -> Comparison:
        (plan,) = live_comparisons(connection, self.config, "default", "", all_tables=True)
        return plan

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def copied(self) -> list[tuple[Any, ...]]:
        """Return the copy's rows, and whether each is inside where, in order."""
        found = self.sql(f"select {', '.join(MAPPED)}, _enerflo_inside from {COPY}")
        return sorted((tuple(row.values()) for row in found), key=repr)

    def own(self) -> Path:
        """Return a configuration of the same table in the warehouse itself."""
        path = self._folder / "own.yaml"
        path.write_text(CONFIG.replace(', crm: {url: "${CRM_URL}"}', ""))
        return path

    def many(self, number: int) -> None:
        """Put rows k1, k2, … into the other database."""
        self.elsewhere.sql(
            "insert into crm.rows (own, install, milestone, title, gone, updated_at)"
            f" select concat('k', n), n, n, concat('Title ', n), false, :at from {self.elsewhere.numbers(number)}",
            at=LONG_AGO,
        )

    def record(self, own: str) -> dict[str, int]:
        """Return the key of Enerflo's record that a row is: a number of the row's own name."""
        return {"install_id": 1, "milestone_id": int(hashlib.sha256(own.encode()).hexdigest()[:8], 16)}

    def mirror(self, own: str, **values: Any) -> None:
        """Put the record of a row into the mirror."""
        row = {"account": "default", "observed_by": "poll", **self.record(own), **values}
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        self.sql(f"insert into enerflo.milestones (observed_at, {names}) values (now(), {places})", **row)

    def both(self, own: str, deleted_at: datetime | None = None, **values: Any) -> None:
        """Put a row into the other database that says Old, and Enerflo's record that says New."""
        named = {"title": "Old", "milestone": self.record(own)["milestone_id"], "updated_at": LONG_AGO}
        self.row(own, **named | values)
        self.mirror(own, title="New", deleted_at=deleted_at)

    def change(self, own: str, **other: Any) -> int:
        """Hand over a change of a plan that waits for it, and return its number."""
        self._position += 1
        row: dict[str, Any] = {
            **{"account": "default", "plan_hash": "p", "table_name": "milestones", "op": "update"},
            **{"key": {"own": own}, "field": "title", "before": "Old", "after": "New", "copy_value": "Old"},
            **{"enerflo_key": self.record(own)},
            **{"state": "open", "ended_at": None, "kind": "sync", "position": self._position},
        }
        row |= other
        for name in ("key", "enerflo_key", "before", "after", "copy_value"):
            row[name] = None if row[name] is None else json.dumps(row[name])
        self.sql(
            "insert into sync.plan_changes (account, plan_hash, position, table_name, key, enerflo_key, op, field, before,"
            " after, direction, policy, cause, rule, state) values (:account, :plan_hash, :position, :table_name,"
            " cast(:key as jsonb), cast(:enerflo_key as jsonb), :op, :field, cast(:before as jsonb),"
            " cast(:after as jsonb), 'to_crm', '-', '-', '-', 'handed_over')",
            **row | {"position": self._position},
        )
        (found,) = self.sql(
            "insert into sync.crm_changes (account, change_id, table_name, crm_table, key, enerflo_key, op,"
            ' "column", before, after, copy_value, plan_hash, position, kind, approved_by, made_at, state, state_at,'
            " ended_at) values (:account, :id, :table_name, 'crm.rows', cast(:key as jsonb),"
            " cast(:enerflo_key as jsonb), :op, :field,"
            " cast(:before as jsonb), cast(:after as jsonb), cast(:copy_value as jsonb), :plan_hash, :position,"
            " :kind, 'Pat', now(), :state, now(), :ended_at) returning number",
            **row | {"id": str(self._position)},
        )
        return int(found["number"])
