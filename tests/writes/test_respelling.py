"""A side that spells a value otherwise, equal as declared, has not changed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {id: install_id}
    updated_at: updated_at
    fields:
      name: {enerflo: customer_name, type: text, trim: true, fold_case: true, null: empty_is_null, %(rest)s}
      kw: {enerflo: system_size_kw, type: number, tolerance: 0.5, %(rest)s}
      kw_text: {enerflo: contract_amount, type: number, %(rest)s}
      at: {enerflo: created_at, type: timestamp, precision: minute, %(rest)s}
      day: {enerflo: updated_at, type: timestamp, time_zone: America/Denver, %(rest)s}
      panel: {enerflo: panel_type, type: text, values: {REC: rec}, %(rest)s}
"""
TABLE = """
create schema if not exists crm;
drop table if exists crm.installs;
create table crm.installs (id bigint primary key, name text, kw numeric, kw_text text, at text, day date,
  panel text, updated_at timestamptz)
"""
# Of each field: the value on which both sides agreed, spellings of it, and other values; of either side.
MIRROR: dict[str, tuple[str, list[Any], list[Any]]] = {
    "name": ("customer_name", ["Ann Bell", "ANN BELL", " ann bell\t"], ["Bob", "", None]),
    "kw": ("system_size_kw", ["10", "10.00", "10.4"], ["10.6", "-10", None]),
    "kw_text": ("contract_amount", ["5", "5.00"], ["5.01", None]),
    "at": ("created_at", ["2026-03-01 10:00:00+00", "2026-03-01 10:00:59+00"], ["2026-03-01 10:01:00+00"]),
    "day": ("updated_at", ["2026-03-01 10:00:00+00", "2026-03-02 06:59:00+00"], ["2026-03-02 07:00:00+00"]),
    "panel": ("panel_type", ["REC", "rec"], ["Qcells", None]),
}
CRM: dict[str, tuple[list[Any], list[Any]]] = {
    "name": (["Ann Bell", "ann bell", "ANN BELL  "], ["Cy", None]),
    "kw": (["10", "10.000", "9.6"], ["11", None]),
    "kw_text": (["5", "5.0", "+5", " 5 "], ["6", "five", None]),
    "at": (
        ["2026-03-01T10:00:00Z", "2026-03-01 10:00:30", "2026-03-01 03:00-0700"],
        ["2026-03-01 10:02", None],
    ),
    "day": (["2026-03-01"], ["2026-03-05", None]),
    "panel": (["rec"], ["REC", None]),
}


class Sides:
    """One install on both sides, and what was agreed on of it."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.config = self.of_policy("review")

    def of_policy(self, policy: str) -> Any:
        path = self.folder / f"{policy}.yaml"
        path.write_text(CONFIG % {"rest": f"source_of_truth: {policy}, null_overwrites: true"})
        return load_config(path, {})

    def put(self, mirror: dict[str, Any], crm: dict[str, Any], *, agreed: bool) -> None:
        with self.engine.begin() as connection:
            tables = "sync.agreed, sync.agreed_twins, sync.watermarks, sync.plans, sync.plan_changes, enerflo.installs"
            connection.exec_driver_sql(f"{TABLE}; truncate {tables if agreed else 'enerflo.installs'}")
            columns = {MIRROR[name][0]: value for name, value in mirror.items()}
            connection.execute(
                sa.text(
                    f"insert into enerflo.installs (account, install_id, observed_at, observed_by, {', '.join(columns)})"
                    f" values ('default', 1, now() - interval '2 hours', 'poll', {', '.join(':' + c for c in columns)})"
                ),
                columns,
            )
            connection.execute(
                sa.text(
                    f"insert into crm.installs (id, updated_at, {', '.join(crm)}) values (1,"
                    f" now() - interval '1 hour', {', '.join(':' + name for name in crm)})"
                ),
                crm,
            )

    def decided(self) -> tuple[dict[str, tuple[str, frozenset[str]]], set[str]]:
        """Return of each changed field its direction and facts, and the fields that are left to a person."""
        report = reconcile(self.engine, self.config, "default", full=True)
        plan = make_plan(self.engine, self.config, "default", report.reconciliation_id)
        with self.engine.connect() as connection:
            facts = {
                row.field: (row.direction, frozenset(row.facts))
                for row in connection.execute(
                    sa.text("select field, direction, facts from sync.plan_changes where plan_hash = :h"),
                    {"h": plan.plan_hash},
                )
            }
            left = {str(one.field) for one in read_undecided(connection, "default", plan.plan_hash)}
        return facts, left


@pytest.fixture
def sides(warehouse: sa.Engine, tmp_path: Path) -> Sides:
    return Sides(warehouse, tmp_path)


def agree(sides: Sides, policy: str = "review") -> None:
    sides.config = sides.of_policy(policy)
    sides.put(
        {name: MIRROR[name][1][0] for name in MIRROR}, {name: CRM[name][0][0] for name in CRM}, agreed=True
    )
    assert sides.decided() == ({}, set())
    with sides.engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from sync.agreed")) == len(MIRROR)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_a_side_that_says_something_else_as_declared_has_moved(
    sides: Sides, data: st.DataObject
) -> None:
    agree(sides)
    mirror, crm, moved = {}, {}, {}
    for name in MIRROR:
        mine_moves = data.draw(st.booleans(), label=f"{name}: Enerflo moves")
        theirs_move = data.draw(st.booleans(), label=f"{name}: the CRM moves")
        mirror[name] = data.draw(
            st.sampled_from(MIRROR[name][2 if mine_moves else 1]), label=f"{name} in Enerflo"
        )
        crm[name] = data.draw(st.sampled_from(CRM[name][1 if theirs_move else 0]), label=f"{name} in the CRM")
        moved[name] = (mine_moves, theirs_move)
    sides.put(mirror, crm, agreed=False)
    changes, left = sides.decided()
    for name, sided in moved.items():
        match sided:
            case (False, False):
                # Within the tolerance of what was agreed on, and not of each other.
                apart = name == "kw" and {mirror[name], crm[name]} == {"10.4", "9.6"}
                assert name in left or name not in changes if apart else name not in {*changes, *left}
            case (True, False) if name in changes:
                assert changes[name][0] == "to_crm", name
            case (False, True) if name in changes:
                assert changes[name][0] == "to_enerflo", name
            case (False, True):
                # No call of Enerflo's API sets it.
                assert name in left, name
            case (True, True):
                assert name not in changes, name


@pytest.mark.parametrize("name", sorted(MIRROR))
@pytest.mark.parametrize("side", ["enerflo", "crm"])
def test_where_one_side_spells_it_anew_the_other_sides_edit_is_the_only_one(
    sides: Sides, name: str, side: str
) -> None:
    mine, theirs = MIRROR[name], CRM[name]
    spellings = mine[1][1:] if side == "enerflo" else theirs[0][1:]
    for spelling in spellings:
        agree(sides)
        mirror = {one: MIRROR[one][1][0] for one in MIRROR}
        crm = {one: CRM[one][0][0] for one in CRM}
        if side == "enerflo":
            mirror[name], crm[name] = spelling, theirs[1][0]
        else:
            mirror[name], crm[name] = mine[2][0], spelling
        sides.put(mirror, crm, agreed=False)
        changes, left = sides.decided()
        if side == "enerflo":
            assert (changes, left) == ({}, {name}), "only the CRM moved, and no call sets it"
            assert (
                reason(sides, name)
                == "no call of Enerflo's API sets it: change it there by hand, or declare the other side"
            )
        else:
            assert {one: direction for one, (direction, _) in changes.items()} == {name: "to_crm"}


def reason(sides: Sides, field: str) -> str:
    with sides.engine.connect() as connection:
        found = connection.scalar(
            sa.text("select reason from sync.plan_undecided where field = :f order by plan_hash limit 1"),
            {"f": field},
        )
    return str(found)


def test_a_value_that_is_ignored_beside_a_null_is_not_the_null_itself(sides: Sides) -> None:
    sides.config = sides.of_policy("review")
    text = (sides.folder / "review.yaml").read_text().replace("values: {REC: rec}", "null: ignore")
    (sides.folder / "ignore.yaml").write_text(text)
    sides.config = load_config(sides.folder / "ignore.yaml", {})
    mirror = {name: MIRROR[name][1][0] for name in MIRROR} | {"panel": None}
    crm = {name: CRM[name][0][0] for name in CRM}
    sides.put(mirror, crm, agreed=True)
    assert sides.decided() == ({}, set())
    sides.put(mirror | {"panel": "Qcells"}, crm, agreed=False)
    changes, _ = sides.decided()
    assert changes["panel"][0] == "to_crm"
    assert {"base_known", "enerflo_moved"} <= changes["panel"][1]
    assert "crm_moved" not in changes["panel"][1]


def test_a_pair_that_was_left_apart_stays_so_when_a_side_spells_its_half_anew(sides: Sides) -> None:
    agree(sides)
    with sides.engine.begin() as connection:
        connection.execute(
            sa.text(
                "update sync.agreed set value = cast(:mine as jsonb), crm_value = cast(:theirs as jsonb),"
                " agreed_by = 'push' where field = 'name'"
            ),
            {"mine": json.dumps("Ann"), "theirs": json.dumps("Ann Bell")},
        )
    mirror = {one: MIRROR[one][1][0] for one in MIRROR} | {"name": " ANN"}
    crm = {one: CRM[one][0][0] for one in CRM} | {"name": "ann bell"}
    sides.put(mirror, crm, agreed=False)
    assert sides.decided() == ({}, set())
