"""The explanation of a record's values as one typed object, from which text, JSON and pages are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.reconcile.store import masked_key, personal_data_classes

BY_ITS_TABLE = (
    "a trigger, rule or default of the CRM's table made another value of what was written, or filled it in"
)


class KnownFrom(StrEnum):
    """The source of a side's value: its present row, a stored version of that time, or the ledger."""

    PRESENT = "present"
    VERSION = "version"
    LEDGER = "ledger"


class WaitingKind(StrEnum):
    """Why a field or a record still differs or waits."""

    PLANNED = "planned"
    UNDECIDED = "undecided"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    ON_ITS_WAY = "on_its_way"
    IN_FLIGHT = "in_flight"
    NOT_WRITTEN = "not_written"
    LEFT_APART = "left_apart"
    DIFFERENT = "different"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence for a value of Enerflo.

    :param observed_by: poll, webhook, backfill or push; None if only the time is known.
    :param observed_at: when this content was first observed.
    :param reference: where to look it up again: ``poll:<run id>``, or the URI of a file.
    :param event: the webhook event that reported it; ``event_id`` and ``received_at`` belong to this event.
    :param poll_seen_at: when a poll saw the same change.
    :param webhook_seen_at: when a webhook reported the same change.
    :param pruned: a text about pruned versions that could have shown more: when, and by which limit.
    :param body_pruned: the same about the body of the event.
    """

    observed_by: str | None
    observed_at: datetime
    reference: str | None = None
    event: str | None = None
    event_id: str | None = None
    received_at: datetime | None = None
    poll_seen_at: datetime | None = None
    webhook_seen_at: datetime | None = None
    pruned: str | None = None
    body_pruned: str | None = None


class SideValue(msgspec.Struct, frozen=True, kw_only=True):
    """One side's record and its value of a field.

    :param exists: whether the side has the record.
    :param rejected: whether the mirror lacks the record because Enerflo's version of it is in quarantine.
    :param changed_at: the modification time in the side's own row.
    :param evidence: the evidence for Enerflo's value; None for the CRM.
    :param pruned: a text about a pruned version between ``value`` and the time in question.
    :param is_later: for a past time, whether this is the present record, which may have changed since.
    """

    exists: bool
    rejected: bool = False
    value: Any = None
    changed_at: datetime | None = None
    evidence: Evidence | None = None
    known_from: KnownFrom = KnownFrom.PRESENT
    pruned: str | None = None
    is_later: bool = False


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The pair of values on which both sides last agreed.

    :param agreed_by: comparison (found equal), push (written and read back), altered
        (written, and the CRM's table made another value of it), undo (left apart on purpose) or
        reworded (a word of ours arrived when it stood for another value).
    """

    value: Any
    crm_value: Any
    agreed_at: datetime
    agreed_by: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger: a decision about a field, and its outcome.

    :param said: the winning side's value in its own form; ``new_value`` is the same in the other side's form.
    :param old_value: the other side's value, which lost.
    :param kept_value: ``new_value`` as Enerflo stores it, if Enerflo spells it differently.
    :param rule_words: the rule in words.
    :param agreed_at: when both sides had last agreed; None if they never had.
    :param evidence: the evidence for the winning value if it is Enerflo's.
    :param plan_kind: sync or undo; for an undo, ``undoes`` is the plan that was undone.
    :param plan_pruned: a text about the pruning of the plan: when, and by which limit.
    :param of_another: the other record of Enerflo that the row with this key named then.
    """

    ledger_id: int
    op: str
    field: str | None
    direction: str
    said: Any
    old_value: Any
    new_value: Any
    kept_value: Any
    policy: str
    rule: str
    rule_words: str
    cause: str
    facts: Sequence[str]
    agreed_at: datetime | None
    changed_at: datetime | None
    observed_at: datetime | None
    recorded_at: datetime
    evidence: Evidence | None
    confirmed_by: str | None
    decision: str
    reason: str | None
    run_id: str
    plan_hash: str
    plan_kind: str
    undoes: str | None
    decided_by: str
    decided_at: datetime | None
    plan_pruned: str | None = None
    of_another: str | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """One reason to wait: for an approval, a person, the other side, or the next plan.

    :param reference: the plan, the quarantine item or the reconciliation in which it is found.
    :param why: the reason in words that contain no value.
    """

    kind: WaitingKind
    field: str | None
    why: str
    reference: str | None = None
    before: Any = None
    after: Any = None
    direction: str | None = None
    until: datetime | None = None


class FieldStory(msgspec.Struct, frozen=True, kw_only=True):
    """One field: the values of both sides, their last agreement, the steps of the ledger, and what waits.

    :param enerflo_column: the mirror's column; None for a column that the mapping does not compare.
    :param policy: the field's source of truth; None for a column that the mapping does not compare.
    :param same: whether the two values are equal as declared; None if a side lacks the record, and for a time
        in the past.
    :param later: how many decisions about it came after the time that is explained.
    """

    field: str
    enerflo_column: str | None
    policy: str | None
    enerflo: SideValue | None
    crm: SideValue | None
    same: bool | None
    agreed: Agreement | None
    steps: Sequence[Step]
    waiting: Sequence[Waiting]
    masked: bool = False
    later: int = 0


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of one record.

    :param table: the table as the command names it, in the singular.
    :param enerflo_key: the mirror's key; None if Enerflo has no such record.
    :param in_enerflo: whether Enerflo has the record; if it was deleted, ``deleted_at`` is when that was
        found.
    :param crm_rows: how many rows of the CRM have the key.
    :param crm_marked: whether the CRM's row is marked as deleted (``deleted_when``), so that it does not
        count.
    :param as_of: the time that is explained; None for the present.
    :param steps: decisions about the row as a whole.
    :param outside_where: whether the CRM has a row of the record, but none that meets ``where``.
    :param pruned: a text about pruned raw versions of the record: when, and by which limit.
    :param ledger_pruned: a text about decisions that prune may have deleted: when, and by which limit.
    :param forgotten_at: when its customer was forgotten and the personal data was erased.
    """

    account: str
    table: str
    table_name: str
    crm_table: str
    key: Mapping[str, Any]
    enerflo_key: Mapping[str, Any] | None
    mode: str
    as_of: datetime | None
    in_enerflo: bool
    deleted_at: datetime | None
    crm_rows: int
    fields: Sequence[FieldStory]
    steps: Sequence[Step]
    waiting: Sequence[Waiting]
    masked: bool = False
    outside_where: bool = False
    crm_marked: bool = False
    pruned: str | None = None
    ledger_pruned: str | None = None
    forgotten_at: datetime | None = None


class FieldMasks:
    """Masks the values of one table's fields.

    A column that the mapping does not compare is masked as free text, unless it is part of a key.
    """

    def __init__(self, tables: Mapping[str, TableMapping], table: str) -> None:
        self._table = table
        self._classes = personal_data_classes(tables)
        self._ids = {*tables[table].key_columns, *tables[table].join_columns}

    def kind_of(self, field: str | None) -> PersonalData:
        """Return the class of personal data of a field; a record as a whole has no class of its own."""
        if field is None or (field in self._ids and (self._table, field) not in self._classes):
            return PersonalData.NONE
        return self._classes.get((self._table, field), PersonalData.FREE_TEXT)

    def hide(self, field: str | None, value: Any) -> Any:
        """Return a field's value masked; in a whole record each value is masked by its own field."""
        if field is None and isinstance(value, dict):
            return {name: mask(one, self.kind_of(name)) for name, one in value.items()}
        return mask(value, self.kind_of(field))

    def key(self, key: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record's key masked."""
        return masked_key(self._table, key, self._classes)


def masked_explanation(explanation: Explanation, config: SyncConfig) -> Explanation:
    """Return the same with every value and the key masked by the fields' classes of personal data."""
    masks = FieldMasks(config.tables_for(explanation.account), explanation.table_name)
    kind_of, hide = masks.kind_of, masks.hide

    def hidden_step(step: Step) -> Step:
        names = ("said", "old_value", "new_value", "kept_value")
        values = {name: hide(step.field, getattr(step, name)) for name in names}
        return msgspec.structs.replace(step, **values)

    def hidden_waiting(one: Waiting) -> Waiting:
        values = {name: hide(one.field, getattr(one, name)) for name in ("before", "after")}
        return msgspec.structs.replace(one, **values)

    def hidden_side(field: str, side: SideValue | None) -> SideValue | None:
        return None if side is None else msgspec.structs.replace(side, value=hide(field, side.value))

    def hidden(story: FieldStory) -> FieldStory:
        agreed = story.agreed
        if agreed is not None:
            values = {name: hide(story.field, getattr(agreed, name)) for name in ("value", "crm_value")}
            agreed = msgspec.structs.replace(agreed, **values)
        return msgspec.structs.replace(
            story,
            enerflo=hidden_side(story.field, story.enerflo),
            crm=hidden_side(story.field, story.crm),
            agreed=agreed,
            steps=[hidden_step(step) for step in story.steps],
            waiting=[hidden_waiting(one) for one in story.waiting],
            masked=kind_of(story.field) is not PersonalData.NONE,
        )

    return msgspec.structs.replace(
        explanation,
        key=masks.key(explanation.key),
        fields=[hidden(story) for story in explanation.fields],
        steps=[hidden_step(step) for step in explanation.steps],
        waiting=[hidden_waiting(one) for one in explanation.waiting],
        masked=True,
    )
