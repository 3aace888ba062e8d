"""A desk whose installs stand in a Fivetran copy of Salesforce, beside the company there that it is a copy of."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.plan.report import PlanReport
from tests.conftest import copy_database
from tests.copies.salesforce.fake import CLIENT, SECRET, Company, WaitingClock, serving
from tests.writes.conftest import Desk, agreed, agreed_warehouse, desk, desk_on, polled_warehouse
from tests.writes.copies import mapped, run
from tests.writes.test_salesforce_copy import _ROWS, _TABLE, TABLES

__all__ = ["agreed", "agreed_warehouse", "desk", "polled_warehouse"]

ACCOUNT = (
    "    airflow: {enerflo_connection",
    '    salesforce: {url: "${SF_URL}", client_id: "${SF_ID}", client_secret: "${SF_SECRET}"}\n'
    "    airflow: {enerflo_connection",
)
# The tests are about one table; the page has the columns of milestones in another one.
INSTALLS = TABLES[: TABLES.index("\n  permits:")]
TO = INSTALLS.replace("write_to: changes", "write_to: salesforce\n    salesforce: {object: Opportunity}")
# With the permits' table, whose rows are the same records.
BOTH = TABLES.replace(
    "write_to: changes", "write_to: salesforce\n    salesforce: {object: Opportunity}"
).replace(
    "time_zone: America/Denver, source_of_truth: newest",
    "time_zone: America/Denver, source_of_truth: enerflo",
)
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")


_numbers = itertools.count(1)


@dataclass
class Office:
    """Both: the desk, and the company at Salesforce."""

    desk: Desk
    company: Company
    clock: WaitingClock

    def mapped(self, tables: str, mode: str = "both", account: tuple[str, str] = ACCOUNT) -> None:
        """Use these tables, and open the way to Salesforce anew."""
        mapped(self.desk, mode, tables, account, AT_ONCE)
        self.desk.context.__dict__.pop("salesforce", None)

    def copy(self, *names: str) -> None:
        """Bring records into the copy as a copy job does."""
        for record in self.company.records.values():
            self.desk.sql('delete from salesforce."Opportunity" where "Id" = :id', id=record["Id"])
            self.desk.sql(
                'insert into salesforce."Opportunity" values (:Id, :RecordTypeName, :IsDeleted, false, now(),'
                " :Enerflo_Install_Id__c, :Name, :StageName, :System_Size__c, :Amount,"
                " cast(:LastModifiedDate as timestamptz) at time zone 'UTC', :Permit_Approved_Date__c)",
                **record,
            )

    def install(self, number: int = 0) -> int:
        """Return one of the installs, which all are linked."""
        rows = self.desk.sql(
            "select i.install_id from enerflo.installs i where i.deleted_at is null"
            " and i.status_name not in ('Voided', 'Completed') order by 1"
        )
        return int(rows[number]["install_id"])

    def moves(self, install: int, size: str = "9.99") -> str:
        """Let Enerflo say another size of an install; return the record's id."""
        self.desk.sql(
            "update enerflo.installs set system_size_kw = :size where install_id = :id",
            size=Decimal(size),
            id=install,
        )
        return id_of(install)

    def applied(self) -> tuple[PlanReport, ApplyReport]:
        """Plan, approve, and apply."""
        plan = self.desk.plan()
        return plan, run_apply(self.desk.context, plan.plan_hash, approved_by="Pat")

    def handed(self) -> list[Any]:
        return self.desk.sql("select * from sync.crm_changes order by number")

    def states(self) -> list[tuple[str, bool, str | None]]:
        """Return of each change that was handed over its state, whether we took it there, and why not."""
        return [(row["state"], row["acknowledged_at"] is not None, row["reason"]) for row in self.handed()]


def killed_at(office: Office, word: str, after: int = 1) -> None:
    """Let the process end at the so-many-th statement to the warehouse that has a word."""
    left = [after]

    def ends(_conn: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if word in statement:
            left[0] -= 1
            if left[0] == 0:
                raise SystemExit("killed")

    sa.event.listen(office.desk.engine, "before_cursor_execute", ends)
    office.desk.__dict__["killing"] = ends


def revived(office: Office) -> None:
    sa.event.remove(office.desk.engine, "before_cursor_execute", office.desk.__dict__["killing"])


def id_of(install: int) -> str:
    return f"006{install:012d}AAQ"


def copied(desk: Desk, *others: str) -> None:
    """Make the copy, let ``others`` change it, and let both sides agree."""
    run(desk, _TABLE, _ROWS, *others)
    desk.sql(
        "update salesforce.\"Opportunity\" set \"Id\" = '006' || lpad(substr(\"Id\", 4), 12, '0') || 'AAQ'"
    )
    mapped(desk, "both", TO, ACCOUNT, AT_ONCE)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")


@contextmanager
def staffed(desk: Desk) -> Iterator[Office]:
    """Yield the office of a desk, with the company at Salesforce that its copy is one of."""
    company = Company()
    for row in desk.sql('select * from salesforce."Opportunity" order by "Id"'):
        values = {name: row[name] for name in ("Id", "RecordTypeName", "Name", "StageName", "IsDeleted")}
        figures = {name: float(row[name]) for name in ("System_Size__c", "Amount") if row[name] is not None}
        day = row["Permit_Approved_Date__c"]
        values["Permit_Approved_Date__c"] = None if day is None else day.isoformat()
        company.put(**values, **figures, Enerflo_Install_Id__c=row["Enerflo_Install_Id__c"])
    clock = WaitingClock(company)
    with serving(company) as url:
        desk.environ |= {"SF_URL": url, "SF_ID": CLIENT, "SF_SECRET": SECRET}
        desk.context.clock = clock
        found = Office(desk, company, clock)
        found.mapped(TO)
        yield found


@contextmanager
def opened(desk: Desk, *others: str) -> Iterator[Office]:
    """Yield an office of which ``others`` are statements that change the copy before both sides agree."""
    copied(desk, *others)
    with staffed(desk) as found:
        yield found


@pytest.fixture(scope="session")
def office_warehouse(
    postgres_url: str, agreed_warehouse: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database of an office whose two sides agree, to be copied."""
    name = f"office_{os.getpid()}_{next(_numbers)}"
    with desk_on(postgres_url, agreed_warehouse, tmp_path_factory.mktemp("office")) as desk:
        copied(desk)
        desk.engine.dispose()
        copy_database(postgres_url, name, str(desk.engine.url.database))
    return name


@pytest.fixture
def office(postgres_url: str, office_warehouse: str, tmp_path: Path) -> Iterator[Office]:
    """A desk and a company that agree, and a mapping that writes to Salesforce."""
    with desk_on(postgres_url, office_warehouse, tmp_path) as desk, staffed(desk) as found:
        yield found
