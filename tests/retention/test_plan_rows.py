"""Which plan goes: each reason to keep one beside a world in which it is none, and every part of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.retention import Kept
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.retention import plans
from enerflo_sync.retention.plans import PlansSweep, refuse_shorter_than_pending
from tests.retention.rows import (
    BEFORE,
    BOUND,
    DAY,
    MOMENT,
    NOW,
    OLD,
    RECENT,
    Row,
    noted,
    put,
    put_worlds,
    rows_of,
    scope_of,
    swept,
    total,
)

ENDED_OLD = {"created_at": OLD, "expires_at": OLD, "applied_at": OLD}
TARGET: dict[str, Any] = {
    **{"plan_hash": "target", "kind": "sync", "part": 1, "state": "applied", "mode": "both"},
    **{"change_count": 1, "needs_approval": False, **ENDED_OLD},
}
# Every lookup of a newest plan finds this one, unless a world says otherwise.
LATEST = {
    **TARGET,
    **{"plan_hash": "latest", "created_at": RECENT, "expires_at": RECENT, "applied_at": RECENT},
    "needs_approval": True,
}
WAITED = {"state": "expired", "needs_approval": True, "applied_at": None}
KEY = {"id": 1}


def plan(name: str, **values: Any) -> Row:
    return "sync.plans", {**TARGET, "plan_hash": name, **values}


def target(**values: Any) -> Row:
    return plan("target", **values)


def latest(**values: Any) -> Row:
    return "sync.plans", {**LATEST, **values}


def change(**values: Any) -> Row:
    row = {"plan_hash": "target", "position": 1, "table_name": "t", "key": KEY, "field": "f"}
    return "sync.plan_changes", {**row, "op": "update", "direction": "to_crm", "state": "applied", **values}


def again(**values: Any) -> Row:
    """The waiting change in the latest plan."""
    return change(plan_hash="latest", position=2, state="planned", **values)


def agreed(at: datetime = OLD, **values: Any) -> Row:
    row = {"table_name": "t", "key": KEY, "field": "f", "agreed_at": at}
    return "sync.agreed", {**row, "agreed_by": "comparison", **values}


def refusal(ended_at: datetime | None, name: str = "target") -> Row:
    row = {"op": "update", "direction": "to_crm", "plan_hash": name, "ended_at": ended_at}
    return "sync.refusals", row


def handed_over(ended_at: datetime | None, name: str = "target") -> Row:
    row = {"change_id": name, "op": "update", "plan_hash": name, "kind": "sync", "state": "arrived"}
    return "sync.crm_changes", {**row, "ended_at": ended_at}


def key_changed(**values: Any) -> Row:
    return "sync.agreed_keys", {"table_name": "t", "columns_before": {"a": 1}, "changed_at": OLD, **values}


STANDS_ON: dict[str, Any] = {"kind": "undo", "stands_on": "target"}
ELSEWHERE: dict[str, dict[str, Any]] = {
    **{"table": {"table_name": "u"}, "key": {"key": {"id": 2}}, "field": {"field": "g"}},
}
# The latest plan has no approval, was not applied, or is of a part of its own.
NO_APPROVAL = latest(needs_approval=False)
NOT_APPLIED = latest(state="rejected", applied_at=None)
LATER_PART_2 = plan("later", part=2, created_at=RECENT, expires_at=RECENT, applied_at=RECENT)
LATER_UNDO = plan("later", kind="undo", created_at=RECENT, expires_at=RECENT, applied_at=RECENT)

SENT_NEW = {"op": "insert", "direction": "to_enerflo", "sent_at": OLD}


def sent_new(**values: Any) -> Row:
    """A new record of Enerflo whose request went out."""
    return change(**{"field": "body", "state": "parked", **SENT_NEW, **values})


STAYS: dict[str, list[Row]] = {
    **{f"it is {state}": [target(state=state, applied_at=None)] for state in ("open", "approved")},
    "made at the bound": [target(created_at=BEFORE)],
    "could be approved until the bound": [target(expires_at=BEFORE)],
    "decided at the bound": [target(decided_at=BEFORE)],
    "applied at the bound": [target(applied_at=BEFORE)],
    "the newest undo": [target(kind="undo", state="expired", applied_at=None)],
    "the newest part 2": [target(part=2, state="expired", applied_at=None)],
    **{
        f"the newest decided of its part, {state} after it": [
            target(part=2, state="rejected", applied_at=None),
            plan("later", part=2, state=state, created_at=RECENT, applied_at=None),
        ]
        for state in ("expired", "superseded")
    },
    "the newest that needed approval": [target(needs_approval=True), NO_APPROVAL],
    "of two that needed approval the second part": [
        target(part=2, needs_approval=True),
        plan("other", needs_approval=True),
        *(NO_APPROVAL, LATER_PART_2),
    ],
    "the newest applied": [target(), NOT_APPLIED],
    "applied after one that was made later": [
        target(applied_at=OLD + 2 * DAY),
        plan("other", created_at=OLD + DAY, applied_at=OLD + DAY),
        NOT_APPLIED,
    ],
    "applied as the key changed": [target(), key_changed()],
    **{f"an undo of it is {s}": [target(), plan("undo", state=s, **STANDS_ON)] for s in ("open", "approved")},
    "an undo of it ended at the bound": [target(), plan("undo", **{**STANDS_ON, "applied_at": BEFORE})],
    "a refusal stands": [target(), refusal(None)],
    "a copy is looked at for it": [target(), handed_over(None)],
    **{
        f"a request of it {state} may have arrived": [target(), change(state=state, sent_at=OLD)]
        for state in ("sent", "superseded")
    },
    "the sides agreed before its request": [
        target(),
        change(state="sent", sent_at=OLD),
        agreed(OLD - MOMENT),
    ],
    **{
        f"the sides agreed on another {name} since": [
            target(),
            change(state="sent", sent_at=OLD),
            agreed(RECENT, **other),
        ]
        for name, other in ELSEWHERE.items()
    },
    **{
        f"no row names the record that it sent: {state}": [target(), sent_new(state=state)]
        for state in ("parked", "applied", "moved", "refused")
    },
    **{
        f"the sides agreed on another {name} than the id of what it sent": [
            target(),
            sent_new(),
            agreed(RECENT, **{"is_link": True, **other}),
        ]
        for name, other in {
            "table": {"table_name": "u"},
            "key": {"key": {"id": 2}},
            "field": {"field": "g", "is_link": False},
        }.items()
    },
    "what it sent was accepted, and what was sent later was not": [
        target(),
        sent_new(accepted_id=7),
        sent_new(plan_hash="latest", sent_at=RECENT),
    ],
    **{
        f"another {name} was sent later than its record": [
            target(),
            sent_new(),
            sent_new(plan_hash="latest", **{"sent_at": RECENT, **other}),
        ]
        for name, other in {
            "table": {"table_name": "u"},
            "key": {"key": {"id": 2}},
            "operation": {"op": "update", "state": "applied"},
            "direction": {"direction": "to_crm"},
            "moment": {"sent_at": OLD},
        }.items()
    },
    "one of its changes is on its way": [target(), change(state="handed_over")],
    **{
        f"a {state} change waits": [target(**WAITED), change(state=state, agreed_at=OLD), agreed()]
        for state in ("planned", "superseded", "left_out")
    },
    "what a person left out waits": [
        target(**WAITED | {"state": "applied", "decided_by": "Pat"}),
        change(state="left_out", agreed_at=OLD),
        agreed(),
    ],
    **{
        f"it waits, and another {name} was planned since": [
            target(**WAITED),
            change(state="planned", agreed_at=OLD),
            agreed(),
            again(**other),
        ]
        for name, other in {
            **ELSEWHERE,
            "operation": {"op": "delete"},
            "direction": {"direction": "to_enerflo"},
        }.items()
    },
    "it waits, and an undo had the change": [
        target(**WAITED),
        change(state="planned", agreed_at=OLD),
        agreed(),
        LATER_UNDO,
        change(plan_hash="later", state="applied"),
    ],
    "it waits, and a plan of that moment has the change": [
        target(**WAITED),
        change(state="planned", agreed_at=OLD),
        agreed(),
        plan("other", **WAITED),
        change(plan_hash="other", state="applied"),
    ],
}
GOES: dict[str, list[Row]] = {
    **{f"it is {state}": [target(state=state)] for state in ("applied", "rejected", "expired", "superseded")},
    "it ended just before the bound": [
        target(**dict.fromkeys(("created_at", "expires_at", "decided_at", "applied_at"), BEFORE - MOMENT))
    ],
    "an undo was made later": [target(kind="undo"), LATER_UNDO],
    "a part 2 was made later": [target(part=2), LATER_PART_2],
    **{
        f"{state}, and others of its part later": [
            target(part=2, state=state, applied_at=None),
            plan("later", part=2, state="expired", created_at=RECENT, applied_at=None),
        ]
        for state in ("expired", "superseded")
    },
    "it needed approval in a report": [target(needs_approval=True, mode="report"), NO_APPROVAL],
    "it needed approval for nothing": [target(needs_approval=True, change_count=0), NO_APPROVAL],
    "an undo needed approval": [target(needs_approval=True, kind="undo"), NO_APPROVAL, LATER_UNDO],
    "another needed approval later": [
        target(needs_approval=True),
        plan("other", needs_approval=True, created_at=OLD + DAY),
        NO_APPROVAL,
    ],
    "of two that needed approval the first part": [
        target(needs_approval=True),
        plan("other", part=2, needs_approval=True),
        *(NO_APPROVAL, LATER_PART_2),
    ],
    "it was applied without a change": [target(change_count=0), NOT_APPLIED],
    "another was applied later": [
        target(created_at=OLD + DAY, applied_at=OLD + DAY),
        plan("other", applied_at=OLD + 2 * DAY),
        NOT_APPLIED,
    ],
    "the key changed later": [target(), key_changed(changed_at=OLD + MOMENT)],
    "the key never changed": [target(), key_changed(columns_before=None)],
    "it was not applied as the key changed": [target(state="rejected", applied_at=None), key_changed()],
    "an undo of it ended before the bound": [
        target(),
        plan("undo", **{**STANDS_ON, "applied_at": BEFORE - MOMENT}),
    ],
    "a plan of another kind names it": [
        target(),
        plan("other", state="open", **STANDS_ON | {"kind": "sync"}),
    ],
    "an undo of another one waits": [target(), plan("undo", state="open", kind="undo", stands_on="x")],
    "its refusal ended": [target(), refusal(OLD)],
    "what it handed over arrived": [target(), handed_over(OLD)],
    "the sides agreed as its request went out": [target(), change(state="sent", sent_at=OLD), agreed()],
    "a row names the record that it sent": [target(), sent_new(), agreed(is_link=True)],
    "the record that it sent was sent again later": [
        target(),
        sent_new(),
        sent_new(plan_hash="latest", sent_at=RECENT),
    ],
    "and was accepted both times": [
        target(),
        sent_new(accepted_id=7),
        sent_new(plan_hash="latest", sent_at=RECENT, accepted_id=8),
    ],
    "its new record was never sent": [target(), sent_new(sent_at=None)],
    "its new row is the CRM's": [target(), sent_new(direction="to_crm")],
    "what it sent was applied": [target(), change(state="applied", sent_at=OLD)],
    "what was superseded was never sent": [target(), change(state="superseded")],
    **{
        f"{name}, so that nothing waits": [
            target(**WAITED | of_plan),
            change(**{"state": "planned", "agreed_at": OLD} | of_change),
            agreed(),
            *more,
        ]
        for name, of_plan, of_change, more in (
            ("no approval was needed", {"needs_approval": False}, {}, []),
            ("it was a report", {"mode": "report"}, {}, []),
            ("it was an undo", {"kind": "undo"}, {}, [LATER_UNDO]),
            ("the sides agreed since", {}, {"agreed_at": OLD - MOMENT}, []),
            ("the sides agreed on something else", {}, {"field": "g"}, []),
            ("they agreed on another row", {}, {"key": {"id": 2}}, []),
            ("they agreed on another table's row", {}, {"table_name": "u"}, []),
            ("a person decided", {"decided_by": "Pat"}, {}, []),
            ("it was parked", {}, {"state": "parked"}, []),
            ("the next plan has it", {}, {}, [again()]),
        )
    },
}
# What every plan has besides: none of it is a reason to keep the plan.
BESIDES = [
    row
    for name in ("target", "latest")
    for row in (
        change(plan_hash=name, position=9, table_name="besides"),
        ("sync.plan_undecided", {"plan_hash": name, "position": 1}),
        refusal(OLD, name),
        ("sync.crm_changes", {**handed_over(OLD, name)[1], "change_id": f"besides {name}"}),
    )
]
WORLDS = {f"stays: {n}": rows for n, rows in STAYS.items()} | {f"goes: {n}": rows for n, rows in GOES.items()}
PARTS = ("plans", "plan_changes", "plan_undecided", "refusals", "crm_changes")


def world(rows: Iterable[Row]) -> list[Row]:
    rows = list(rows)
    named = {values.get("plan_hash") for table, values in rows if table == "sync.plans"}
    return [*rows, *([] if "latest" in named else [latest()]), *BESIDES]


def left(engine: sa.Engine) -> set[tuple[str, str, str]]:
    """Return the account, the plan and the table of every row."""
    queries = (f"select distinct account, plan_hash, '{part}' from sync.{part}" for part in PARTS)
    return {(row[0], row[1], row[2]) for row in rows_of(engine, " union all ".join(queries))}


def test_a_plan_goes_with_all_its_rows_unless_something_stands_on_it(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {name: world(rows) for name, rows in WORLDS.items()})
    before = left(warehouse)
    sizes = rows_of(
        warehouse,
        "select account, plan_hash, sum(pg_column_size(c.*))::int from sync.plan_changes c group by 1, 2",
    )
    looked = {name: swept(warehouse, PlansSweep(), Kept.PLANS, name, dry=True) for name in WORLDS}
    assert left(warehouse) == before
    assert noted(warehouse) == {}
    gone = {name: swept(warehouse, PlansSweep(), Kept.PLANS, name) for name in WORLDS}
    assert gone == looked
    after = left(warehouse)
    for name in WORLDS:
        here = {(of, part) for account, of, part in after if account == name}
        had = {(of, part) for account, of, part in before if account == name}
        assert {part for of, part in here if of == "latest"} == set(PARTS), name
        assert {part for of, part in here if of == "target"} == (
            set() if name.startswith("goes") else set(PARTS)
        ), name
        # No other plan lost a part of it only.
        others = {of for of, _ in here}
        assert here == {(of, part) for of, part in had if of in others}, name
        lost = {of for of, _ in had} - others
        assert total(gone[name])[1] == sum(n for account, of, n in sizes if account == name and of in lost)
    told = noted(warehouse)
    for name, batches in gone.items():
        found = told.get((name, "plans"))
        if not batches:
            assert found is None, name
            continue
        assert found is not None, name
        assert found[:2] == total(batches)
        assert found[4:] == (NOW, BOUND, BEFORE)
    assert told["goes: it is rejected", "plans"][0] == 2
    assert told["goes: it is rejected", "plans"][2:4] == (OLD, OLD)
    assert told["goes: it was applied without a change", "plans"][0] == 1


def test_plans_go_in_batches_of_so_many_changes(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_PLANS", 3)
    monkeypatch.setattr(plans, "BATCH", 6)
    # Rows of each: the changes, and the plan.
    sizes = {"a": 2, "b": 3, "c": 1, "d": 9, "e": 0, "f": 5, "g": 6}
    rows = [plan(name, change_count=count) for name, count in sizes.items()]
    put_worlds(warehouse, {"one": [latest(), *rows]})
    for dry in (True, False):
        # Three are looked at together, and of these as many deleted as have six rows at most.
        batches = [one.rows for one in swept(warehouse, PlansSweep(), Kept.PLANS, "one", dry=dry)]
        assert batches == [3, 6, 10, 1, 6, 7]
    assert rows_of(warehouse, "select plan_hash from sync.plans") == [("latest",)]
    assert swept(warehouse, PlansSweep(), Kept.PLANS, "one") == []


def test_a_plan_that_somebody_changes_at_the_moment_is_left_to_the_next_run(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {"one": [latest(), plan("a"), change(plan_hash="a"), plan("b", change_count=4)]})
    with warehouse.connect() as other:
        other.execute(sa.text("select from sync.plans where plan_hash = 'a' for update"))
        assert [one.rows for one in swept(warehouse, PlansSweep(), Kept.PLANS, "one")] == [5]
        assert swept(warehouse, PlansSweep(), Kept.PLANS, "one") == []
        assert noted(warehouse)["one", "plans"][0] == 5
    assert rows_of(warehouse, "select plan_hash from sync.plans order by 1") == [("a",), ("latest",)]
    assert rows_of(warehouse, "select plan_hash from sync.plan_changes") == [("a",)]
    assert [one.rows for one in swept(warehouse, PlansSweep(), Kept.PLANS, "one")] == [2]
    assert rows_of(warehouse, "select plan_hash from sync.plans") == [("latest",)]


WAITS: dict[str, Any] = {"state": "open", "created_at": OLD, "expires_at": NOW + timedelta(days=20_000)}


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({}, "waits to be applied"),
        ({"needs_approval": True}, "waits for approval"),
        ({"state": "approved"}, "waits to be applied"),
        ({"created_at": BEFORE - MOMENT}, "waits to be applied"),
        ({"created_at": BEFORE}, None),
        ({"expires_at": RECENT}, None),
        ({"change_count": 0}, None),
        *(({"state": state}, None) for state in ("applied", "rejected", "expired", "superseded")),
        ({"account": "other"}, None),
    ],
)
def test_a_bound_is_refused_while_an_older_plan_waits(
    warehouse: sa.Engine, values: dict[str, Any], refused: str | None
) -> None:
    with warehouse.begin() as connection:
        put(connection, "sync.plans", **{"account": "one", **TARGET, **WAITS, **values})
        scope = scope_of(Kept.PLANS, "one")
        if refused is None:
            refuse_shorter_than_pending(connection, scope)
            return
        # The oldest that waits is named.
        younger = {**TARGET, **WAITS, "plan_hash": "younger", "created_at": BEFORE - MOMENT}
        put(connection, "sync.plans", account="one", **younger)
        with pytest.raises(ConfigurationError, match=f"the plan (target|younger) of .* {refused}") as caught:
            refuse_shorter_than_pending(connection, scope)
        assert f"and {BOUND} is shorter than that" in str(caught.value)
        if "created_at" not in values:
            assert "the plan target of 2025-12-02 00:00 UTC" in str(caught.value)
        assert "account one, retention.some_days" in str(caught.value)
