"""A difference is in flight for the declared delay, and no longer because a copy gives its row a new time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.reconcile.conftest import NOW, TwoSides

TOUCHED = {
    "the CRM's rows": "update crm.installs set updated_at = :now",
    "Enerflo's records": "update enerflo.installs set observed_at = :now",
}
EVERY_SIDE = pytest.mark.parametrize("touched", TOUCHED)
HOW = pytest.mark.parametrize("full", [False, True])


def cause(sides: TwoSides, now: datetime, *, full: bool = False) -> str:
    """Return the cause of the only difference."""
    ((_, _, _, found),) = sides.causes(sides.reconcile(now, full=full))
    return str(found)


@HOW
@EVERY_SIDE
def test_a_difference_that_stays_is_in_flight_no_longer_than_the_delay(
    sides: TwoSides, touched: str, *, full: bool
) -> None:
    """A copy that is loaded anew every ten minutes gives each row the time of the load."""
    sides.install(1, crm_panel_count=1)
    found = {}
    for minutes in range(0, 70, 10):
        now = NOW + timedelta(minutes=minutes)
        sides.sql(TOUCHED[touched], now=now)
        found[minutes] = cause(sides, now, full=full)
    young, old = "in_flight", "unexplained"
    assert found == {0: young, 10: young, 20: young, 30: old, 40: old, 50: old, 60: old}


@HOW
@pytest.mark.parametrize(
    "changed", ["update crm.installs set panel_count = 2", "update enerflo.installs set panel_count = 2"]
)
def test_with_another_value_of_either_side_the_delay_begins_anew(
    sides: TwoSides, changed: str, *, full: bool
) -> None:
    sides.install(1, crm_panel_count=1)
    sides.sql(TOUCHED["the CRM's rows"], now=NOW)
    assert cause(sides, NOW, full=full) == "in_flight"
    later = NOW + timedelta(minutes=40)
    sides.sql(changed)
    sides.sql(TOUCHED["the CRM's rows"], now=later)
    assert cause(sides, later, full=full) == "in_flight"
    assert cause(sides, later + timedelta(minutes=20), full=full) == "in_flight"
    assert cause(sides, later + timedelta(minutes=31), full=full) == "unexplained"


@HOW
def test_a_difference_that_came_back_is_a_new_one(sides: TwoSides, *, full: bool) -> None:
    sides.install(1, crm_panel_count=1)
    assert cause(sides, NOW, full=full) == "unexplained"
    sides.sql("update crm.installs set panel_count = 20, updated_at = :now", now=NOW)
    assert sides.reconcile(NOW + timedelta(minutes=40)).differences == 0
    later = NOW + timedelta(minutes=80)
    sides.sql("update crm.installs set panel_count = 1, updated_at = :now", now=later)
    assert cause(sides, later, full=full) == "in_flight"


@HOW
def test_what_an_older_program_found_is_as_old_as_our_first_look(sides: TwoSides, *, full: bool) -> None:
    sides.install(1, crm_panel_count=1)
    assert cause(sides, NOW, full=full) == "unexplained"
    sides.sql("update sync.differences set unchanged_since = null")
    for minutes, expected in ((60, "in_flight"), (80, "in_flight"), (90, "unexplained")):
        now = NOW + timedelta(minutes=minutes)
        sides.sql(TOUCHED["the CRM's rows"], now=now)
        assert cause(sides, now, full=full) == expected


def test_a_difference_that_is_carried_over_keeps_its_age(sides: TwoSides) -> None:
    """Its row is touched only after runs in which nothing of it moved."""
    sides.install(1, crm_panel_count=1)
    sides.install(2)
    for minutes in (0, 20, 40):
        sides.sql("update crm.installs set updated_at = :now where enerflo_install_id = 2", now=NOW)
        assert cause(sides, NOW + timedelta(minutes=minutes)) == "unexplained"
    later = NOW + timedelta(minutes=41)
    sides.sql(TOUCHED["the CRM's rows"], now=later)
    assert cause(sides, later) == "unexplained"


@HOW
@pytest.mark.parametrize(
    "changed", ["update crm.installs set panel_count = :n", "update enerflo.installs set panel_count = :n"]
)
def test_a_value_that_is_another_at_each_load_is_in_flight_for_a_day_at_most(
    sides: TwoSides, changed: str, *, full: bool
) -> None:
    sides.install(1, crm_panel_count=1)
    found = {}
    for hours in range(27):
        now = NOW + timedelta(hours=hours)
        sides.sql(changed, n=100 + hours)
        sides.sql(TOUCHED["the CRM's rows"], now=now)
        found[hours] = cause(sides, now, full=full)
    assert {hours for hours, one in found.items() if one == "in_flight"} == set(range(24))
    assert {found[hours] for hours in (24, 25, 26)} == {"unexplained"}
