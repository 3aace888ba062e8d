"""A plan as reports show it: its groups in words, samples of each group, and personal data masked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.plan.parts import has_personal_key
from enerflo_sync.plan.reads import read_changes, read_plan, read_undecided
from enerflo_sync.plan.reopen import Refusal
from enerflo_sync.plan.report import Change, Group, PlanReport, PlanState, Undecided
from enerflo_sync.reconcile.render.wording import NO_RECORD, NOT_IN_MIRROR, record_words
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.store import Classes, masked_key, masked_record, personal_data_classes
from enerflo_sync.warehouse.engine import transaction_time

SAMPLES = 10

_TIME_RAN_OUT = "expired: its time ran out"
_SIDES = {"to_crm": "in the CRM", "to_enerflo": "at Enerflo"}
_VERBS = {"insert": "Create", "update": "Change", "delete": "Delete"}


@dataclass(frozen=True)
class ShownPlan:
    """A plan with masked samples of each group, of its questions and of its refused changes.

    :param personal_keys: the tables whose keys hold personal data: a shown key is masked and finds no row.
    :param now: when the plan was read.
    """

    plan: PlanReport
    samples: Mapping[tuple[str, str, str], list[Change]]
    undecided: list[Undecided]
    personal_keys: frozenset[str]
    now: datetime

    def of(self, group: Group) -> list[Change]:
        """Return a group's samples."""
        return self.samples.get((group.table_name, group.direction, group.op), [])

    @property
    def questions(self) -> list[Undecided]:
        """Return samples of the plan's questions."""
        return [one for one in self.undecided if one.refusal_id is None]

    @property
    def refused(self) -> list[Undecided]:
        """Return samples of the changes that a person refused before."""
        return [one for one in self.undecided if one.refusal_id is not None]


def show_plan(connection: sa.Connection, config: SyncConfig, account: str, plan_hash: str) -> ShownPlan:
    """Return a stored plan with its samples.

    :param plan_hash: as :func:`enerflo_sync.plan.reads.read_plan` takes it.
    :raises ConfigurationError: there is no such plan.
    """
    plan = read_plan(connection, account, plan_hash)
    tables = config.tables_for(account)
    samples: dict[tuple[str, str, str], list[Change]] = {}
    for change in masked_changes(read_changes(connection, account, plan.plan_hash, most=SAMPLES), tables):
        samples.setdefault((change.table_name, change.direction, change.op), []).append(change)
    undecided = read_undecided(connection, account, plan.plan_hash, most=5 * SAMPLES)
    personal_keys = frozenset(name for name, table in tables.items() if has_personal_key(table))
    now = transaction_time(connection)
    return ShownPlan(plan, samples, masked_undecided(undecided, tables), personal_keys, now)


def headline(plan: PlanReport) -> str:
    """Return the plan in one sentence, followed by sentences about changes from backfills and about notes."""
    if not plan.change_count:
        return _nothing(plan)
    parts = [
        f"{count_of(plan.count(direction), 'change')} {side}"
        for direction, side in _SIDES.items()
        if plan.count(direction)
    ]
    from_backfills = f" {plan.from_backfills:,} come from a backfill." if plan.from_backfills else ""
    notes = "".join(f" {_completed(number)} while {what}." for what, number in plan.notes.items())
    return f"{' and '.join(parts)}.{from_backfills}{notes}"


def _nothing(plan: PlanReport) -> str:
    """Return the headline of a plan without changes, with its questions and refused changes."""
    questions, refused = sum(plan.undecided.values()), sum(plan.refused.values())
    left = [f"{count_of(questions, 'question')} {'is' if questions == 1 else 'are'} left to a person"]
    left += (
        [f"{count_of(refused, 'change')} {'stays' if refused == 1 else 'stay'} refused"] if refused else []
    )
    left = left if questions else left[1:]
    nothing = "Nothing to take back" if plan.kind == "undo" else "Nothing to write"
    if left:
        return f"{nothing}: {' and '.join(left)}."
    if plan.kind == "undo":
        return f"{nothing}."
    if kept := sum(plan.kept.values()):
        stay = "stays as it is, with its" if kept == 1 else "stay as they are, each with its"
        return f"{nothing}: {count_of(kept, 'difference')} {stay} reason."
    return f"{nothing}: the mirror and the CRM are as the rules say."


def _completed(number: int) -> str:
    return f"{count_of(number, 'install')} {'is' if number == 1 else 'are'} completed"


def state_words(plan: PlanReport, now: datetime) -> str:
    """Return the plan's state in words, with who decided.

    :param now: the present moment, since a plan's time may be over before anything records that.
    """
    who = f" by {plan.decided_by}" if plan.decided_by else ""
    first = f"; {plan.first_approved_by} approved it" if plan.first_approved_by else ""
    if plan.state is PlanState.APPLIED and not plan.change_count:
        return "empty"
    if plan.mode == "report" and plan.change_count and plan.state is PlanState.OPEN:
        return "shown only: no plan is applied in report mode"
    if plan.expires_at <= now and plan.state in {PlanState.OPEN, PlanState.APPROVED}:
        return f"approved{who}, and its time ran out" if plan.state is PlanState.APPROVED else _TIME_RAN_OUT
    if plan.rest_rejected:
        return f"carried out in part, the rest rejected{who}{_on_their_way(plan)}"
    if plan.waits_for_approval:
        decided = {name: count for name, count in plan.states.items() if name not in ("planned", "left_out")}
        if decided:
            of_it = ", ".join(f"{count:,} {name}" for name, count in decided.items())
            waits = "waits for a second person's approval" if first else "waits for a person's approval"
            return f"a part of it is decided ({of_it}), the rest {waits}{first}"
        return f"waits for a second person's approval{first}" if first else "waits for a person's approval"
    if plan.state is PlanState.REJECTED and not plan.decided_by:
        return "rejected: nobody answered in time"
    return {
        PlanState.OPEN: "may be applied",
        PlanState.APPROVED: f"approved{who}, not applied whole yet",
        PlanState.APPLIED: f"applied, approved{who}{_on_their_way(plan)}",
        PlanState.REJECTED: f"rejected{who}{first and f'{first} after all, and a second person has to'}",
        PlanState.EXPIRED: _TIME_RAN_OUT,
        PlanState.SUPERSEDED: "superseded: a later plan took its place",
    }[plan.state]


def _on_their_way(plan: PlanReport) -> str:
    number = plan.states.get("handed_over", 0)
    return f"; {count_of(number, 'change')} on the way to the CRM (sync.crm_changes)" if number else ""


def group_title(group: Group) -> str:
    """Return what a group does: ``Change 12 installs in the CRM``."""
    noun = group.table_name.removesuffix("s").replace("_", " ")
    if group.op == "delete" and group.fields:
        return f"Mark {count_of(group.rows, noun)} as deleted {_SIDES[group.direction]}"
    return f"{_VERBS[group.op]} {count_of(group.rows, noun)} {_SIDES[group.direction]}"


def masked_changes(changes: Iterable[Change], tables: Mapping[str, TableMapping]) -> Iterator[Change]:
    """Yield changes with personal data masked by its class; every text of an unmapped column is masked."""
    classes = personal_data_classes(tables)
    for change in changes:
        key = masked_key(change.table_name, change.key, classes)
        if change.op == "delete":
            before = masked_row(change.before, tables.get(change.table_name))
            yield msgspec.structs.replace(change, key=key, before=before)
            continue
        kind = _kind_of(tables.get(change.table_name), change.field)
        before, after = (_masked(value, kind) for value in (change.before, change.after))
        yield msgspec.structs.replace(change, key=key, before=before, after=after)


def masked_undecided(found: Iterable[Undecided], tables: Mapping[str, TableMapping]) -> list[Undecided]:
    """Return questions with personal data masked."""
    shown = []
    classes = personal_data_classes(tables)
    for one in found:
        table = tables.get(one.table_name)
        kind = _kind_of(table, one.field)
        values = {
            name: _masked_record(one.table_name, getattr(one, name), table, classes)
            if one.field is None
            else _masked(getattr(one, name), kind)
            for name in ("enerflo_value", "crm_value")
        }
        key = masked_key(one.table_name, one.key, classes)
        shown.append(msgspec.structs.replace(one, key=key, **values))
    return shown


def masked_refusals(found: Iterable[Refusal], tables: Mapping[str, TableMapping]) -> list[Refusal]:
    """Return refusals with personal data masked; new and deleted rows are masked column by column."""
    shown = []
    classes = personal_data_classes(tables)
    for one in found:
        table = tables.get(one.table_name)
        kind = _kind_of(table, one.field)
        values = {
            name: masked_row(getattr(one, name), table)
            if one.field is None
            else _masked(getattr(one, name), kind)
            for name in ("before", "after")
        }
        key = masked_key(one.table_name, one.key, classes)
        shown.append(msgspec.structs.replace(one, key=key, **values))
    return shown


def question_values(one: Undecided) -> tuple[Any, Any]:
    """Return Enerflo's and the CRM's value of a question; if a side lacks the whole row, words say so."""
    if one.field is not None:
        return one.enerflo_value, one.crm_value
    sides = one.enerflo_value, one.crm_value
    absent = "not told" if sides == (None, None) else NO_RECORD
    rejected = NOT_IN_MIRROR if one.cause == Cause.QUARANTINED and absent == NO_RECORD else absent
    mine, theirs = (
        words if side is None else record_words(side)
        for side, words in zip(sides, (rejected, absent), strict=True)
    )
    return mine, theirs


def _masked_record(name: str, value: Any, table: TableMapping | None, classes: Classes) -> Any:
    if isinstance(value, dict) and isinstance(value.get("keys"), list):
        return masked_record(name, value, classes)
    if isinstance(value, dict) and table is not None and set(value) <= {*table.key_columns}:
        return masked_key(name, value, classes)
    return masked_row(value, table)


def masked_row(row: Any, table: TableMapping | None) -> Any:
    """Return a row by columns with its personal data masked."""
    if not isinstance(row, dict):
        return row
    return {column: _masked(value, _kind_of(table, column)) for column, value in row.items()}


def _kind_of(table: TableMapping | None, field: str | None) -> PersonalData | None:
    if table is None or field is None:
        return None
    # An unmapped column has no declared class, so every text of it is masked.
    return table.personal_kinds.get(field)


def _masked(value: Any, kind: PersonalData | None) -> Any:
    if kind is None:
        return mask(value, PersonalData.FREE_TEXT) if isinstance(value, str) else value
    return mask(value, kind)
