"""Two accounts with an organisation at Salesforce each, whose copies share one table: each writes its own alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.copies.salesforce.conftest import ACCOUNT, AT_ONCE, TO, Office
from tests.copies.salesforce.fake import Company, serving
from tests.writes.copies import mapped
from tests.writes.neighbour import TABLES

WHERE = 'where: "\\"RecordTypeName\\" = \'Solar\'"'
SHARED = TO.replace(WHERE, 'where: "\\"Company\\" = \'west\'"')
EAST = """  east:
    base_url: ${ENERFLO_BASE_URL:-https://enerflo.io}
    api_key: ${ENERFLO_API_KEY}
    warehouse_url: ${WAREHOUSE_URL}
    mode: both
    salesforce: {url: "${SF_EAST}", client_id: "${SF_ID}", client_secret: "${SF_SECRET}"}
    tables: {installs: {where: "\\"Company\\" = 'east'"}}

poll:
"""


@dataclass
class Offices:
    """The first account's office, and the second account with its organisation."""

    west: Office
    east: AccountContext
    there: Company

    def says(self, account: str, install: int, size: str) -> None:
        self.west.desk.sql(
            "update enerflo.installs set system_size_kw = :size where install_id = :id and account = :account",
            size=Decimal(size),
            id=install,
            account=account,
        )

    def carried(self, context: AccountContext) -> int:
        plan = run_plan(context)[0]
        run_apply(context, plan.plan_hash, approved_by="Pat")
        return plan.change_count

    def sizes(self) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        west, east = (
            [(id_, values["System_Size__c"]) for _, id_, values in company.writes]
            for company in (self.west.company, self.there)
        )
        return west, east


@pytest.fixture
def offices(office: Office) -> Iterator[Offices]:
    desk = office.desk
    desk.sql('alter table salesforce."Opportunity" add "Company" text not null default \'west\'')
    desk.sql(
        'insert into salesforce."Opportunity" select \'00X\' || substr("Id", 4), "RecordTypeName", "IsDeleted",'
        ' _fivetran_deleted, _fivetran_synced, "Enerflo_Install_Id__c", "Name", "StageName", "System_Size__c",'
        ' "Amount", "LastModifiedDate", "Permit_Approved_Date__c", \'east\' from salesforce."Opportunity"'
    )
    there = Company()
    for record in office.company.records.values():
        there.put(**{**record, "Id": f"00X{record['Id'][3:]}"})
    for row in desk.sql(TABLES):
        name, columns = row["name"], row["columns"]
        desk.sql(
            f"insert into {name} (account, {columns}) select 'east', {columns} from {name} where account = 'default'"
        )
    desk.sql("delete from sync.agreed where account = 'east' and table_name = 'installs'")
    with serving(there) as url:
        desk.environ["SF_EAST"] = url
        mapped(desk, "both", SHARED, ACCOUNT, AT_ONCE, ("\npoll:\n", f"\n{EAST}"))
        desk.context.__dict__.pop("salesforce", None)
        east = AccountContext("east", desk.context.config, desk.context.config_path, desk.context.credentials)
        east.clock = office.clock
        found = Offices(office, east, there)
        for context in (desk.context, east):
            found.carried(context)
        office.company.writes.clear()
        there.writes.clear()
        yield found
        east.close()


def test_each_account_writes_its_own_organisation(offices: Offices) -> None:
    install = offices.west.install()
    offices.says("default", install, "9.99")
    offices.says("east", install, "7.77")
    assert offices.carried(offices.west.desk.context) == 1
    assert offices.carried(offices.east) == 1
    mine = f"006{install:012d}AAQ"
    assert offices.sizes() == ([(mine, 9.99)], [(f"00X{mine[3:]}", 7.77)])
    for context in (offices.west.desk.context, offices.east):
        assert run_reconcile(context).unexplained == 0
