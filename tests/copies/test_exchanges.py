"""The ten exchanges of the vendor's guide with the CRM in MariaDB and in DuckDB.

They are the tests of ``tests/writes``, told to a CRM in another database. One company and one database of each
kind serve all of them, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.copies.away_desk import AwayDesk
from tests.copies.conftest import CRM, opened
from tests.writes import test_exchanges as exchanges
from tests.writes.conftest import desk_on
from tests.writes.test_exchange_6 import (
    test_exchange_6_held_then_corrected_by_an_order_that_a_webhook_tells_of,
    test_exchange_6_held_then_released_by_a_person_with_a_reason,
)
from tests.writes.test_exchanges import (
    test_exchange_1_1_a_lead_that_becomes_qualified_is_delivered_with_a_deal,
    test_exchange_1_2_a_new_customer_becomes_a_lead_of_the_crm,
    test_exchange_3_1_milestone_dates_of_the_crm_reach_enerflo,
    test_exchange_3_2_a_completion_at_enerflo_reaches_the_crm,
    test_exchange_4_1_a_status_of_the_crm_reaches_enerflo_by_its_id,
    test_exchange_4_1_the_last_milestone_completed_in_the_crm_completes_the_install,
    test_exchange_4_2_a_status_of_enerflo_reaches_the_crm,
    test_exchange_4_2_a_voided_install_is_voided_in_the_crm_and_not_deleted,
    test_exchange_5_1_a_note_of_the_crm_appears_at_enerflo_once_with_its_author,
    test_exchange_5_2_a_note_of_enerflo_appears_in_the_crm_once,
    test_exchange_6_a_signed_change_order_reaches_the_crm_with_its_adders,
)
from tests.writes.test_late_appointments import APPOINTMENT

__all__ = [
    "test_exchange_1_1_a_lead_that_becomes_qualified_is_delivered_with_a_deal",
    "test_exchange_1_2_a_new_customer_becomes_a_lead_of_the_crm",
    "test_exchange_3_1_milestone_dates_of_the_crm_reach_enerflo",
    "test_exchange_3_2_a_completion_at_enerflo_reaches_the_crm",
    "test_exchange_4_1_a_status_of_the_crm_reaches_enerflo_by_its_id",
    "test_exchange_4_1_the_last_milestone_completed_in_the_crm_completes_the_install",
    "test_exchange_4_2_a_status_of_enerflo_reaches_the_crm",
    "test_exchange_4_2_a_voided_install_is_voided_in_the_crm_and_not_deleted",
    "test_exchange_5_1_a_note_of_the_crm_appears_at_enerflo_once_with_its_author",
    "test_exchange_5_2_a_note_of_enerflo_appears_in_the_crm_once",
    "test_exchange_6_a_signed_change_order_reaches_the_crm_with_its_adders",
    "test_exchange_6_held_then_corrected_by_an_order_that_a_webhook_tells_of",
    "test_exchange_6_held_then_released_by_a_person_with_a_reason",
]


@pytest.fixture(scope="module", params=["mariadb", "duckdb"])
def shop(
    request: pytest.FixtureRequest,
    postgres_url: str,
    agreed_warehouse: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AwayDesk]:
    """One account whose two sides agree, whose CRM is in another database, and that writes to both."""
    folder = tmp_path_factory.mktemp("shop")
    with (
        desk_on(postgres_url, agreed_warehouse, folder) as desk,
        opened(request.param, request, folder, postgres_url) as other,
    ):
        other.take_over(desk.engine)
        desk.environ["CRM_URL"] = other.url
        away = AwayDesk(desk.context, desk.world, desk.folder, desk.environ, desk.api, other=other)
        away.sql(f"alter table crm.leads add appointment_at {other.types['timestamptz']}")
        away.switched_on("both", CRM, APPOINTMENT, ("nulling: true", "nulling: false"))
        away.carried()
        yield away


@pytest.fixture
def both(shop: AwayDesk) -> AwayDesk:
    """The account, of which Enerflo received nothing yet in this test."""
    shop.world.received.clear()
    return shop


def test_exchange_2_a_submission_and_a_resubmission_reach_the_crm(both: AwayDesk) -> None:
    # What the events differ in is settled before any CRM is looked at.
    exchanges.test_exchange_2_a_submission_and_a_resubmission_reach_the_crm(both, "deal.projectReceived")


def test_exchange_1_1_a_lead_with_a_time_is_delivered_with_its_appointment(both: AwayDesk) -> None:
    starts = datetime(2027, 3, 5, 10, 30, tzinfo=UTC)
    both.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at, appointment_at) values ('A-1', 'Ann', 'Lee', '5125550199', '9 Main St', 'Austin', 'TX',"
        " '78701', 'qualified', now(), :starts)",
        starts=starts,
    )
    both.carried()
    (made,) = both.world.appointments
    assert (made.start, made.end - made.start) == (int(starts.timestamp()), 3600)
    assert made.customer_id == both.crm("leads", lead_id="A-1")["enerflo_customer_id"]
    both.settled()
    assert len(both.world.appointments) == 1
