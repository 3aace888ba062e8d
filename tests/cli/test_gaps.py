"""``enerflo-sync gaps`` as a person meets it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.cli.test_rebuild import sql


@pytest.fixture
def unseen_for_a_day(run: Run, warehouse_url: str) -> Run:
    """Polled a day ago, and not since."""
    run("poll")
    sql(warehouse_url, "update sync.runs set started_at = started_at - interval '1 day'")
    sql(warehouse_url, "update sync.watermarks set value = value - interval '1 day'")
    return run


# One of the company's records is refused.
NOTHING_OPEN = (
    "Nothing is open: all that was due was seen. 1 record that was seen stands in quarantine, and the mirror does"
    " not have it as Enerflo says: enerflo-sync quarantine list."
)


def test_without_a_poll_there_is_nothing_to_have_holes_in(run: Run) -> None:
    result = run("gaps")
    assert (result.code, result.err) == (0, "")
    assert result.out == "No poll ever ran for this account: nothing was read yet.\n"


def test_after_a_poll_nothing_is_open(run: Run) -> None:
    run("poll")
    result = run("gaps")
    assert (result.code, result.out) == (0, f"{NOTHING_OPEN}\n")


def test_where_no_record_is_refused_nothing_is_said_of_them(run: Run, warehouse_url: str) -> None:
    run("poll")
    sql(warehouse_url, "update sync.quarantine set state = 'dismissed', decided_at = now()")
    assert run("gaps").out == "Nothing is open: all that was due was seen.\n"


def test_an_open_hole_is_shown_with_what_closes_it(unseen_for_a_day: Run) -> None:
    result = unseen_for_a_day("gaps")
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[0] == "1 gap is open."
    assert lines[2].split() == ["kind", "from", "to", "for", "state", "not", "seen"]
    assert lines[3].startswith("  records  20")
    assert " now " in lines[3]
    assert lines[3].endswith("open   installs, customers, change_orders, notes, statuses, milestones")
    assert "due polls did not run." in result.out
    assert "closes it:  enerflo-sync poll\n" in result.out
    assert "created then:  enerflo-sync backfill --from 20" in result.out


def test_a_poll_closes_it_and_then_it_is_told_with_all(unseen_for_a_day: Run, warehouse_url: str) -> None:
    unseen_for_a_day("poll")
    run_id = sql(warehouse_url, "select run_id from sync.runs order by started_at desc limit 1")[0][0]
    result = unseen_for_a_day("gaps")
    assert (result.code, result.out) == (
        0,
        f"{NOTHING_OPEN} 1 gap is closed of the last 14 days.\n",
    )
    everything = unseen_for_a_day("gaps", "--all")
    assert everything.code == 0
    assert f"closed by {run_id}" in everything.out


def test_the_same_as_json(unseen_for_a_day: Run) -> None:
    document = unseen_for_a_day("gaps", "--json").json
    assert (document["open"], document["sentence"], document["polled"]) == (1, "1 gap is open.", True)
    (hole,) = document["holes"]
    assert (hole["kind"], hole["open"], hole["to"], hole["closed_by"]) == ("records", True, None, None)
    assert hole["closes"] == "enerflo-sync poll"
    assert set(hole["evidence"]["watermarks"]) == {"installs", "customers", "change_orders", "notes"}
    assert hole["from"].endswith("Z")


def test_another_schedule_makes_other_holes(unseen_for_a_day: Run) -> None:
    assert unseen_for_a_day("gaps", "--every", "900").code == 0
    assert unseen_for_a_day("gaps", "--every", "600").code == 1
    assert unseen_for_a_day("gaps", "--every", "0").code == 2
