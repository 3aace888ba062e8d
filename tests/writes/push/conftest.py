"""A simulated company, its CRM's tables in a real PostgreSQL, and plans that are written down by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sandbox.truth import CustomerRow, InstallRow, MilestoneRow
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.agreed.outcomes import Applying
from enerflo_sync.apply.enerflo.push import PushReport, push
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.conftest import database_url, fresh_database, keep_database
from tests.kept import copied
from tests.mirror.conftest import START, Company

SHIPPED = Path(__file__).parents[3] / "include" / "config" / "sync.yaml"
NOW = "2026-03-02T08:00:00+00:00"
LEAD = {
    "first_name": "Jane",
    "last_name": "Doe",
    "email": "jane.doe@example.com",
    "mobile": "+1 (512) 555-0100",
    "address": "12 Main St",
    "city": "Boston",
    "state": "Massachusetts",
    "zip": "2139",
    "deal_type_id": 7,
}


@dataclass
class Outbox:
    """One account: the company, its mirror, the CRM, and one plan of which rows are added by hand."""

    company: Company
    api: SandboxApi
    config: SyncConfig
    plan_hash: str = "p1"
    runs: list[PushReport] = field(default_factory=list)
    key: str = DEFAULT_KEY

    @property
    def world(self) -> World:
        return self.company.world

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.company.rows(statement, **values)

    def one(self, statement: str, **values: Any) -> Any:
        ((found,),) = self.rows(statement, **values)
        return found

    def sql(self, statement: str, **values: Any) -> None:
        with self.company.warehouse.begin() as connection:
            connection.execute(sa.text(statement), values)

    # -- the plan -----------------------------------------------------------------------------------------

    def change(
        self,
        table: str,
        key: dict[str, Any],
        field: str | None,
        after: Any,
        *,
        before: Any = None,
        enerflo_key: dict[str, Any] | None = None,
        op: str = "update",
        rule: str = "crm",
    ) -> int:
        """Add one change to the plan and return its position."""
        position = self.one("select coalesce(max(position), 0) + 1 from sync.plan_changes")
        columns = {
            "account": self.company.account,
            "plan_hash": self.plan_hash,
            "position": position,
            "table_name": table,
            "key": json.dumps(key),
            "enerflo_key": None if enerflo_key is None else json.dumps(enerflo_key),
            "op": op,
            "field": field,
            "before": None if before is None else json.dumps(before),
            "after": None if after is None else json.dumps(after),
            "source_value": self.in_crm(table, key, field),
            "direction": "to_enerflo",
            "policy": "crm",
            "cause": "edited_in_crm",
            "rule": rule,
            "state": "planned",
        }
        names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        self.sql(f"insert into sync.plan_changes ({names}) values ({places})", **columns)
        return position  # type: ignore[no-any-return]

    def in_crm(self, table: str, key: dict[str, Any], field: str | None) -> str | None:
        """Return what the CRM says by now, as a plan has it."""
        where = " and ".join(f"{name} = :{name}" for name in key)
        rows = self.rows(f"select to_jsonb(t) from crm.{table} t where {where}", **key)
        value = rows[0][0].get(field) if rows else None
        return None if value is None else json.dumps(value)

    def status(self, install: InstallRow, after: str, **more: Any) -> int:
        one = {"enerflo_install_id": install.install_id}
        more = {"before": install.status_name, "field": "status"} | more
        return self.change(
            "installs", one, after=after, enerflo_key={"install_id": install.install_id}, **more
        )

    def milestone(self, row: MilestoneRow, field: str, after: str | None, **more: Any) -> int:
        known = {"install_id": row.install_id, "milestone_id": row.milestone_id}
        key = {"enerflo_install_id": row.install_id, "milestone_id": row.milestone_id}
        present = getattr(row, field, None)
        before = present.isoformat() if isinstance(present, datetime) else None
        return self.change("milestones", key, field, after, **{"before": before, "enerflo_key": known} | more)

    def note(self, note_id: str, install_id: Any, body: str | None, author: str | None = "Ann") -> list[int]:
        """Put a note into the CRM and its insertion into the plan."""
        self.sql(
            "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
            " values (:n, :i, :a, :b, :at) on conflict do nothing",
            **{"n": note_id, "i": install_id, "a": author, "b": body, "at": NOW},
        )
        values = {"enerflo_install_id": install_id, "body": body, "author": author}
        return [
            self.change("notes", {"note_id": note_id}, name, after, op="insert")
            for name, after in values.items()
        ]

    def lead(self, lead_id: str, *, appointment: str | None = None, **differing: Any) -> list[int]:
        """Put a qualified lead into the CRM and its insertion into the plan."""
        lead = LEAD | differing
        names = ("lead_id", *lead, "status", "updated_at")
        self.sql(
            f"insert into crm.leads ({', '.join(names)}) values ({', '.join(f':{name}' for name in names)})",
            **{"lead_id": lead_id, "status": "qualified", "updated_at": NOW},
            **{
                name: None if value is None else value if name == "deal_type_id" else str(value)
                for name, value in lead.items()
            },
        )
        more = {} if appointment is None else {"appointment_at": appointment}
        return [
            self.change("leads", {"lead_id": lead_id}, name, after, op="insert")
            for name, after in (lead | more).items()
        ]

    def lead_change(self, lead_id: str, customer: CustomerRow, field: str, after: Any, **more: Any) -> int:
        known = {
            "before": getattr(customer, field, None),
            "enerflo_key": {"customer_id": customer.customer_id},
        }
        named = {"l": lead_id, "c": customer.customer_id}
        self.sql("delete from crm.leads where enerflo_customer_id = :c and lead_id <> :l", **named)
        self.sql(
            "insert into crm.leads (lead_id, enerflo_customer_id, status, updated_at)"
            " values (:l, :c, 'qualified', now())"
            " on conflict (lead_id) do update set enerflo_customer_id = :c",
            **named,
        )
        if field in LEAD:
            self.sql(f"update crm.leads set {field} = :after where lead_id = :l", after=after, l=lead_id)
        return self.change("leads", {"lead_id": lead_id}, field, after, **(known | more))

    # -- the push -----------------------------------------------------------------------------------------

    def push(
        self, *, run_id: str = "run-1", pause: float = 60, without: tuple[str, ...] = (), **more: Any
    ) -> PushReport:
        engine = self.company.warehouse
        with engine.connect() as connection:
            with connection.begin():
                fold = case_folding(connection)
                found = live_comparisons(connection, self.config, "default", fold, all_tables=True)
            try:
                report = push(
                    self.company.client(CallCounter(), self.key),
                    connection,
                    Applying("default", self.plan_hash, run_id, "Jane Doe"),
                    self.config,
                    {one.name: one for one in found if one.name not in without},
                    clock=self.company.clock,
                    component_keys=ComponentKeys(),
                    **more,
                )
            finally:
                self.company.clock.advance(pause)
        self.runs.append(report)
        return report

    def fault(self, kind: str, path: str, nth: int = 1, last: int | None = None, method: str = "*") -> None:
        """Let exactly these requests go wrong, beside those that do already."""
        script = [*self.api.faults.script, ScriptedFault(FaultKind(kind), path, nth, last, method)]
        self.api.faults = Faults(script=script)

    def no_faults(self) -> None:
        self.api.faults = Faults()

    def answering(self, method: str, path: str, status: int, body: bytes = b'{"message": "No."}') -> None:
        """Let one request be refused with this status from now on, and not be carried out."""
        real = self.api._route

        def route(request: Request, asked: str, key: str) -> Response:
            if (request.method, asked) == (method, path):
                return Response(status, {"content-type": "application/json"}, body)
            return real(request, asked, key)

        self.api._route = route  # type: ignore[method-assign]

    # -- what came of it ----------------------------------------------------------------------------------

    def states(self) -> list[str]:
        return [one for (one,) in self.rows("select state from sync.plan_changes order by position")]

    def reasons(self) -> list[str | None]:
        return [one for (one,) in self.rows("select reason from sync.plan_changes order by position")]

    def ledger(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select table_name, field, old_value, new_value, decision, decided_by, evidence, run_id"
            " from sync.ledger order by ledger_id"
        )

    def received(self, method: str = "*") -> list[Any]:
        return [one for one in self.world.received if method in ("*", one.method)]

    def asked(self, method: str, path: str) -> int:
        return self.api.requests[method, path]

    def install(self, at: int = 0) -> InstallRow:
        return list(self.world.truth.installs())[at]

    def milestones(self, install_id: int) -> list[MilestoneRow]:
        return [row for row in self.world.truth.milestones() if row.install_id == install_id]

    def notes(self, install_id: int, text: str | None = None) -> list[Any]:
        found = [row for row in self.world.truth.notes() if row.install_id == install_id]
        return [row for row in found if text is None or row.body == text]

    def customer(self, key: str) -> CustomerRow:
        (found,) = [row for row in self.world.truth.customers() if row.integration_record_id == key]
        return found


NewOutbox = Callable[..., Outbox]


def _polled(server: str, installs: int, seed: int, limit: int) -> tuple[str, Company]:
    """Return a database in which a company was polled beside its CRM tables, and the company."""
    name = keep_database(server, "migrated")
    address = database_url(server, name)
    clock = VirtualClock(START)
    world = World(installs, seed=seed, start=START, clock=clock)
    api = SandboxApi(world, clock=clock, rate_limit=limit)
    company = Company(warehouse_engine(address), world, clock, api_of=api)
    clock.advance(60)
    make_crm_tables(world, address, allow_duplicates=False)
    company.poll()
    company.warehouse.dispose()
    return name, company


@pytest.fixture(scope="session")
def kept_companies(postgres_url: str) -> Callable[..., tuple[str, Company]]:
    """Return polled companies, to be copied: each is made once."""
    return cache(partial(_polled, postgres_url))


@pytest.fixture
def new_outbox(
    postgres_url: str, kept_companies: Callable[..., tuple[str, Company]], tmp_path: Path
) -> Iterator[NewOutbox]:
    """Make an outbox, in a warehouse of its own.

    ``writes`` and ``milestones`` (options of a date field) go into the configuration, ``limit`` is the vendor's.
    """
    with ExitStack() as opened:

        def make(
            installs: int = 6,
            seed: int = 3,
            writes: dict[str, Any] | None = None,
            milestones: dict[str, Any] | None = None,
            limit: int = 10_000,
        ) -> Outbox:
            shipped = yaml.load(SHIPPED.read_text(), Loader=yaml.CSafeLoader)
            shipped["writes"] |= writes or {}
            shipped["tables"]["milestones"]["fields"]["due_at"] |= milestones or {}
            path = tmp_path / "sync.yaml"
            path.write_text(yaml.dump(shipped, Dumper=yaml.CSafeDumper))
            database, kept = kept_companies(installs, seed, limit)
            engine = warehouse_engine(opened.enter_context(fresh_database(postgres_url, database)))
            opened.callback(engine.dispose)
            company = copied(kept, kept.warehouse, engine)
            assert company.api_of is not None
            return Outbox(company, company.api_of, load_config(path, {}))

        yield make


@pytest.fixture
def outbox(new_outbox: NewOutbox) -> Outbox:
    """A company of six installs, all of them in the mirror and in the CRM."""
    return new_outbox()
