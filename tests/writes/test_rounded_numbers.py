"""A column of the CRM that rounds what is written for a while, and holds it later."""

from __future__ import annotations

import pytest

from tests.writes.conftest import Desk

FAR = (
    "select count(*) from crm.installs c join enerflo.installs e on e.install_id = c.enerflo_install_id"
    " where abs(c.contract_amount - e.contract_amount) > 0.005"
)


def planned(desk: Desk) -> int:
    return len(desk.changes(desk.plan(), field="contract_amount"))


@pytest.mark.parametrize("rounds", ["numeric(14, 0)", "integer"])
def test_what_a_column_rounded_is_written_again_once_it_holds_it(agreeing: Desk, rounds: str) -> None:
    agreeing.sql(f"alter table crm.installs alter contract_amount type {rounds}")
    rounded = planned(agreeing)
    assert rounded == agreeing.one(FAR) > 0
    agreeing.carried()
    # The column has no room for more: both are left as the write left them.
    assert [planned(agreeing) for _ in range(2)] == [0, 0]
    agreeing.sql("alter table crm.installs alter contract_amount type numeric(14, 2)")
    assert planned(agreeing) == rounded
    agreeing.carried()
    assert agreeing.one(FAR) == 0
    agreeing.settled()
