"""The old part of the ledger is thinned, and what is left still says what every field is and was since."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from enerflo_sync.jobs.ledger import run_ledger_check, run_seal
from enerflo_sync.jobs.what_if import run_what_if
from enerflo_sync.plan.what_if_text import render_what_if
from tests.retention.conftest import kind, pruned_at_desk
from tests.retention.test_prune_plans import carried, counted, story
from tests.writes.conftest import SHIPPED, Desk
from tests.writes.test_refused import installs

PANELS = range(41, 47)


@pytest.fixture
def written(agreeing: Desk) -> tuple[Desk, int]:
    """An install whose number of panels was written six times, and that of another one twice; not sealed yet."""
    agreeing.switched_on("crm", ("retention:", "retention:\n  ledger_days: 300"))
    install, other, *_ = installs(agreeing)
    for panels in PANELS:
        counted(agreeing, install, panels)
        if panels in (41, 42):
            counted(agreeing, other, panels + 10)
        carried(agreeing)
        if panels == 43:
            run_seal(agreeing.context)
    return agreeing, install


@pytest.fixture
def changed(written: tuple[Desk, int]) -> tuple[Desk, int]:
    """The same, sealed to the end."""
    run_seal(written[0].context)
    return written


def ledger(desk: Desk) -> list[dict[str, Any]]:
    return desk.sql(
        "select ledger_id, table_name, key::text as key, field, op, direction, decision, old_value, new_value"
        " from sync.ledger order by ledger_id"
    )


def first_and_last(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that stay: of each field the first and the last change, and all that is no change of a field."""
    fields: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["op"] == "update":
            named = ("table_name", "key", "field", "direction", "decision")
            fields.setdefault(tuple(row[name] for name in named), []).append(row)
    between = [row["ledger_id"] for of_field in fields.values() for row in of_field[1:-1]]
    return [row for row in rows if row["ledger_id"] not in between]


def replayed(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], Any]:
    return {
        (row["table_name"], row["key"], row["field"]): row["new_value"]
        for row in rows
        if row["decision"] == "applied" and row["direction"] == "to_crm"
    }


def test_of_each_field_the_first_and_the_last_change_stay(changed: tuple[Desk, int]) -> None:
    desk, install = changed
    before = ledger(desk)
    # A dry run deletes no plans, whose changes stay.
    assert kind(pruned_at_desk(desk, dry=True), "ledger").rows == 0
    assert ledger(desk) == before
    gone = kind(pruned_at_desk(desk), "ledger").rows
    after = ledger(desk)
    assert after == first_and_last(before)
    assert len(before) - len(after) == gone >= 4
    panels = [row for row in after if row["field"] == "panel_count" and str(install) in row["key"]]
    assert [row["new_value"] for row in panels] == [PANELS[0], PANELS[-1]]
    assert replayed(after) == replayed(before)
    assert kind(pruned_at_desk(desk), "ledger").rows == 0


def test_the_check_of_the_ledger_knows_what_went(changed: tuple[Desk, int]) -> None:
    desk, install = changed
    pruned_at_desk(desk)
    found = run_ledger_check(desk.context)
    assert (found.intact, found.unsealed) == (True, 0)
    desk.sql(
        "delete from sync.ledger where field = 'panel_count' and key ->> 'enerflo_install_id' = :id returning 1",
        id=str(install),
    )
    assert run_ledger_check(desk.context).broken == 2


def test_changes_that_are_not_sealed_stay(written: tuple[Desk, int]) -> None:
    desk, _ = written
    before = ledger(desk)
    sealed = desk.one("select max(settled) from sync.ledger_seals")
    pruned_at_desk(desk)
    after = ledger(desk)
    assert [row for row in after if row["ledger_id"] > sealed] == [
        row for row in before if row["ledger_id"] > sealed
    ]
    assert len(after) < len(before)
    run_seal(desk.context)
    assert run_ledger_check(desk.context).intact


def test_what_somebody_may_have_to_decide_stays(written: tuple[Desk, int]) -> None:
    desk, _ = written
    desk.sql("update sync.ledger set decision = 'parked' where field = 'panel_count' returning 1")
    desk.sql("delete from sync.ledger_seals returning 1")
    run_seal(desk.context)
    before = [row for row in ledger(desk) if row["decision"] == "parked"]
    assert len(before) > 4
    pruned_at_desk(desk)
    assert [row for row in ledger(desk) if row["decision"] == "parked"] == before


def test_changes_of_a_plan_that_is_kept_stay(changed: tuple[Desk, int]) -> None:
    desk, _ = changed
    before = ledger(desk)
    assert kind(pruned_at_desk(desk, timedelta(days=310)), "ledger").rows == 0
    assert ledger(desk) == before


def test_it_is_kept_for_ever_where_no_option_says_otherwise(agreeing: Desk) -> None:
    install = agreeing.a_site().install_id
    for panels in PANELS:
        counted(agreeing, install, panels)
        carried(agreeing)
    before = ledger(agreeing)
    assert kind(pruned_at_desk(agreeing), "ledger").before is None
    assert ledger(agreeing) == before


def test_what_if_says_that_decisions_may_be_missing(changed: tuple[Desk, int]) -> None:
    desk, _ = changed
    said = "Changes between the first and the last of a field may be missing: the ledger was pruned at"
    assert said not in render_what_if(run_what_if(desk.context, SHIPPED, {}))
    pruned_at_desk(desk)
    assert said in render_what_if(run_what_if(desk.context, SHIPPED, {}))


def test_explain_says_that_changes_may_be_missing(changed: tuple[Desk, int]) -> None:
    desk, install = changed
    said = "Changes between the first and the last of a field may be missing: the ledger was pruned at"
    assert said not in story(desk, install)
    pruned_at_desk(desk)
    assert story(desk, install).count(said) == 1
    assert "by retention.ledger_days: 300" in story(desk, install)
