"""Planted defects of which record a row or a column names: titles, spellings of keys, rows outside ``where``."""

from __future__ import annotations

from dataclasses import replace
from string import Template

import pytest

from enerflo_sandbox.changes import ChangeKind
from enerflo_sync.agreed import written
from enerflo_sync.apply.enerflo import installs
from enerflo_sync.plan import creations
from enerflo_sync.reconcile import compare, reconciliation, wide
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.join_columns import JoinColumn
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, Plant
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble


def any_of_two_titles(patch: pytest.MonkeyPatch) -> None:
    """Of two milestones of one title a wide column is compared with any."""
    for name in ("_FIELD", "_VALUE"):
        template = getattr(wide, name).template
        some = template.replace("= 1", ">= 1").replace("min(m.milestone_id)", "max(m.milestone_id)")
        some = some.replace("array_agg(m.$column)", "array_agg(m.$column order by m.milestone_id desc)")
        some = some.replace("count(*) filter (where $which) as mc$n", "1 as mc$n")
        assert some != template
        patch.setattr(wide, name, Template(some))
    patch.setattr(compare, "ambiguous", lambda _n: "false")


def title_not_read_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at a milestone's title again before a wide column's change is sent."""
    patch.setattr(installs, "_other_milestone", lambda *_: None)


_WIDE = replace(
    BOTH_WAYS,
    installs=3,
    tick=10,
    events=0.5,
    edits=0.01,
    kinds=(ChangeKind.MILESTONE_CHANGED,),
    edit_kinds=(Edit.MILESTONE,),
    shape=Shape(wide_table="permits"),
    troubles={Trouble.WIDE: 1.0},
)


def near_keys_unseen(patch: pytest.MonkeyPatch) -> None:
    """A record whose row spells its key otherwise is missing like any other."""
    patch.setattr(creations, "keep_near_keys", lambda *_: "false")
    patch.setattr(written, "no_near_row", lambda *_: "")


def near_keys_looked_for_once(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks again for rows that spell a key otherwise before a row is made."""
    patch.setattr(written, "no_near_row", lambda *_: "")


def near_keys_all_clear(patch: pytest.MonkeyPatch) -> None:
    """A verdict does not count the records that rows name in another spelling."""
    patch.setattr(reconciliation, "count_near_keys", lambda *_: 0)


def one_spelling_of_a_number(patch: pytest.MonkeyPatch) -> None:
    """Keys that are declared as whole numbers count as spelled in one way."""
    patch.setattr(JoinColumn, "varies", property(lambda _: False))


def rows_outside_are_rows(patch: pytest.MonkeyPatch) -> None:
    """Before a row is written nobody looks whether it meets ``where``."""
    patch.setattr(Comparison, "inside", lambda *_: "true")


_FEW = replace(BOTH_WAYS, installs=3, tick=10, events=0.1, edits=0.2, edit_kinds=(Edit.STATUS,))


def _spelled(trouble: Trouble, shape: Shape) -> Plan:
    return replace(_FEW, shape=shape, troubles={trouble: 1.0})


_NEAR = _spelled(Trouble.NEAR_KEYS, Shape(text_keys=True, spelled="near"))
_TYPED = _spelled(Trouble.TYPED_KEYS, Shape(text_keys=True, spelled="typed"))
_CHOSEN = replace(
    _spelled(Trouble.CHOSEN_ROWS, Shape(chosen=True)),
    edits=4.0,
    edit_kinds=(Edit.NOT_THEIRS,),
    restless=0.05,
)
OF_KEYS: tuple[tuple[Plant, Plan, int], ...] = (
    (any_of_two_titles, _WIDE, 50),
    (title_not_read_again, _WIDE, 50),
    (near_keys_unseen, _NEAR, 50),
    (near_keys_looked_for_once, _NEAR, 50),
    (near_keys_all_clear, _NEAR, 50),
    (one_spelling_of_a_number, _TYPED, 50),
    (rows_outside_are_rows, _CHOSEN, 50),
)
