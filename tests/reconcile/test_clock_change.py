"""Times without a zone repeat an hour when clocks go back: an edit within it is looked at all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enerflo_sync.reconcile.report import Scope
from tests.reconcile.conftest import CONFIG

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

# In Denver 01:59:59 MDT is followed by 01:00 MST.
BACK = datetime(2025, 11, 2, 8, tzinfo=UTC)
UNZONED = CONFIG.replace(
    "    updated_at: updated_at\n",
    "    updated_at: updated_at\n    updated_at_set_at_commit: true\n    time_zone: America/Denver\n",
    1,
)


@pytest.fixture
def denver(sides: TwoSides, tmp_path: Path) -> TwoSides:
    sides.sql("alter table crm.installs alter updated_at type timestamp")
    sides.with_config(UNZONED + "reconcile: {lookback_minutes: 15, in_flight_minutes: 5}\n", tmp_path)
    sides.install(1, crm_updated_at=datetime(2025, 10, 1))
    sides.install(2, crm_updated_at=datetime(2025, 11, 1, 20))
    return sides


@pytest.mark.parametrize("minutes_before", [55, 30, 5, 1, 0, -5])
def test_an_edit_within_the_hour_that_comes_twice_is_looked_at(denver: TwoSides, minutes_before: int) -> None:
    denver.reconcile(BACK - timedelta(minutes=minutes_before))
    denver.sql(
        "update crm.installs set panel_count = 99, updated_at = '2025-11-02 01:10' where enerflo_install_id = 1"
    )
    later = denver.reconcile(BACK + timedelta(hours=3))
    assert later.scope is Scope.INCREMENTAL
    assert [key for _, key, *_ in denver.causes(later)] == [{"enerflo_install_id": 1}]


def test_on_other_days_no_more_is_looked_at_than_was_changed(denver: TwoSides) -> None:
    denver.reconcile(datetime(2025, 11, 2, 3, 30, tzinfo=UTC))
    denver.sql("update crm.installs set panel_count = 99")
    assert denver.reconcile(datetime(2025, 11, 2, 4, tzinfo=UTC)).differences == 0
