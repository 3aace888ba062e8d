"""Reads the explanation of one record: values, evidence, decisions and their rules, and what waits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.explanation import (
    Agreement,
    Explanation,
    FieldStory,
    KnownFrom,
    SideValue,
    Step,
    Waiting,
    WaitingKind,
)
from enerflo_sync.explain.history import evidence_of, read_steps
from enerflo_sync.explain.items import read_items
from enerflo_sync.explain.versions import Version, Witness, read_versions
from enerflo_sync.explain.waiting import FoundDifference, read_found, read_waiting
from enerflo_sync.inbox.quarantine_items import QuarantineItem
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.reconcile.record import FoundRecord, find_record, table_of
from enerflo_sync.warehouse.pruned import prunings_of

_AGREED = sa.text("""
/* enerflo-sync explain: on what both sides last agreed */
select distinct on (field) field, value, coalesce(crm_value, value) as crm_value, agreed_at, agreed_by
from sync.agreed a where account = :account and table_name = :table and agreed_by not like 'former%'
  and key = any(cast(cast(:keys as text[]) as jsonb[]))
  and (cast(:record as jsonb) is null or enerflo_key = cast(:record as jsonb))
  and not exists (select from sync.agreed_twins n where n.account = a.account
    and n.table_name = a.table_name and n.field = a.field
    and n.key in (a.key, jsonb_build_object('', a.enerflo_key)))
order by field, agreed_at desc
""").bindparams(sa.bindparam("record", type_=sa.Text))

_DELETED_AT = "/* enerflo-sync explain: since when a record is gone */ select deleted_at from {} e where "


@dataclass(frozen=True)
class _Known:
    """The parts that were read about one record, from which its explanation is made."""

    record: FoundRecord
    versions: Sequence[Version]
    steps: Sequence[Step]
    later: Sequence[Step]
    waiting: Sequence[Waiting]
    agreed: dict[str, Agreement]
    witness: Witness
    as_of: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True)
class KnownRecord:
    """A record's explanation and the data that it was made from.

    :param explanation: the explanation, unmasked.
    :param found: the differences that the newest reconciliation found, by field; key None for the whole
        record.
    :param items: the record's quarantine items, open and closed.
    """

    explanation: Explanation
    record: FoundRecord
    versions: Sequence[Version]
    found: Mapping[str | None, FoundDifference]
    items: Sequence[QuarantineItem]


def explain(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    table: str,
    key: str,
    field: str | None = None,
    as_of: datetime | None = None,
) -> Explanation:
    """Return the unmasked explanation of a record; the parameters are those of :func:`read_known`."""
    return read_known(connection, config, account, table, key, field, as_of).explanation


def read_known(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    table: str,
    key: str,
    field: str | None = None,
    as_of: datetime | None = None,
) -> KnownRecord:
    """Return the unmasked explanation of a record with the data that it was made from.

    Reads only the warehouse, in the caller's transaction. The list of what waits is empty for a time in the
    past.

    :param table: a table's name in ``sync.yaml``, or its singular, such as ``change-order``.
    :param key: the values of the CRM's key joined by ``/``, ``enerflo:<id>``, or an install's deal uuid.
    :param field: a CRM column; None for all mapped columns.
    :param as_of: an aware time; the explanation contains what was known and decided by then.
    :raises ConfigurationError: the table is not mapped, the field or record is unknown, or the mapping does
        not fit the live tables.
    """
    comparison = _comparison(connection, config, account, table)
    record = find_record(connection, comparison, account, table, key)
    versions = read_versions(connection, record, account)
    witness = Witness(connection, record, account, versions)
    every = read_steps(connection, record, account, witness, field)
    steps = [step for step in every if as_of is None or step.recorded_at <= as_of]
    agreed = _agreed(connection, account, record, as_of)
    found = read_found(connection, account, record)
    items = read_items(connection, account, record)
    known = _Known(
        record=record,
        versions=versions,
        steps=steps,
        later=every[len(steps) :],
        waiting=[]
        if as_of is not None
        else read_waiting(connection, config, account, record, every, agreed, found, items),
        agreed=agreed,
        witness=witness,
        as_of=as_of,
        deleted_at=_deleted_at(connection, record, account),
    )
    names = _fields(comparison, known, field)
    explanation = Explanation(
        account=account,
        table=table.strip().lower(),
        table_name=str(comparison.name),
        crm_table=comparison.mapping.crm_table,
        key=_ordered(record.keys[0], comparison.mapping.key_columns),
        enerflo_key=record.enerflo_key,
        mode=str(config.mode_of(account, comparison.name)),
        as_of=as_of,
        in_enerflo=record.in_enerflo,
        deleted_at=known.deleted_at,
        crm_rows=record.crm_rows,
        outside_where=record.outside,
        crm_marked=record.marked,
        fields=[_story(name, known) for name in names],
        steps=[step for step in steps if step.field is None],
        waiting=[one for one in known.waiting if one.field is None],
        pruned=_pruned(witness),
        ledger_pruned=_ledger_pruned(connection, account, steps),
        forgotten_at=_forgotten_at(connection, record, account),
    )
    return KnownRecord(explanation, record, versions, found, items)


_FORGOTTEN_AT = sa.text("""
/* enerflo-sync explain: whether a record's customer was forgotten */
select f.forgotten_at from sync.forgotten f
where f.account = :account and (f.customer_id = :customer or :install = any(f.install_ids)
  or f.customer_id = (select i.customer_id from enerflo.installs i
    where i.account = :account and i.install_id = :install))
""").bindparams(sa.bindparam("customer", type_=sa.BigInteger), sa.bindparam("install", type_=sa.BigInteger))


def _forgotten_at(connection: sa.Connection, record: FoundRecord, account: str) -> datetime | None:
    values = {"customer": (record.enerflo_key or {}).get("customer_id"), "install": record.install}
    found: datetime | None = connection.scalar(_FORGOTTEN_AT, values | {"account": account})
    return found


def _pruned(witness: Witness) -> str | None:
    found = witness.pruned
    if found is None:
        return None
    count, first, last = len(found.seen_at), found.seen_at[0], found.seen_at[-1]
    if count == 1:
        return f"one version of it, first seen at {first:%Y-%m-%d %H:%M:%S} UTC, was {found.by}"
    span = f"between {first:%Y-%m-%d %H:%M:%S} and {last:%Y-%m-%d %H:%M:%S} UTC"
    return f"{count:,} versions of it, first seen {span}, were {found.by}"


def _ledger_pruned(connection: sa.Connection, account: str, steps: Sequence[Step]) -> str | None:
    """Return a text if prune may have deleted decisions between two that are left about one field."""
    last: dict[tuple[Any, ...], Step] = {}
    followed: list[datetime] = []
    for step in steps:
        of_field = step.field, step.direction, step.decision
        if step.op == "update" and of_field in last:
            followed.append(step.recorded_at)
        last[of_field] = step
    gone = prunings_of(connection, account, "ledger", followed)
    if not gone:
        return None
    latest = max(gone.values(), key=lambda pruning: pruning.pruned_at)
    return f"changes between the first and the last of a field may be missing: the ledger was {latest}"


def _ordered(key: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return a key with its parts in the order in which commands take them; jsonb has another order."""
    return {name: key[name] for name in (*columns, *key) if name in key}


def _comparison(connection: sa.Connection, config: SyncConfig, account: str, table: str) -> Comparison:
    name = table_of(table, config.tables_for(account))
    fold = case_folding(connection)
    found = live_comparisons(connection, config, account, fold, all_tables=True, only=name)
    if found:
        return found[0]
    raise ConfigurationError(
        f"the table {name} is not mapped.",
        where=f"{config.file}, account {account}",
        next_step="Map it under tables, or choose another one.",
    )


def _fields(comparison: Comparison, known: _Known, field: str | None) -> list[str]:
    mapped = list(comparison.mapping.fields)
    others = [step.field for step in known.steps if step.field is not None and step.field not in mapped]
    names = [*mapped, *dict.fromkeys(others)]
    if field is None:
        return names
    if field not in names:
        raise ConfigurationError(
            f"there is no mapped field {field!r}.",
            where=f"--field, table {comparison.name}",
            next_step=f"Choose one of {', '.join(mapped)}.",
        )
    return [field]


def _agreed(
    connection: sa.Connection, account: str, record: FoundRecord, as_of: datetime | None
) -> dict[str, Agreement]:
    # A row keeps its key when it is linked to another record. So unless the key is the record's id, only
    # pairs of this record are read.
    apart = None if record.comparison.key_is_record else record.enerflo_key
    values = {
        "account": account,
        "table": str(record.comparison.name),
        "keys": record.key_texts,
        "record": None if apart is None else json.dumps(apart),
    }
    rows = connection.execute(_AGREED, values).mappings().all()
    found = {row["field"]: Agreement(**{k: v for k, v in row.items() if k != "field"}) for row in rows}
    return {name: one for name, one in found.items() if as_of is None or one.agreed_at <= as_of}


def _deleted_at(connection: sa.Connection, record: FoundRecord, account: str) -> datetime | None:
    if not record.deleted or record.enerflo_key is None:
        return None
    on = " and ".join(f"e.{name} = %({name})s" for name in record.comparison.mirror_key)
    statement = f"{_DELETED_AT.format(record.comparison.mirror)}e.account = %(account)s and {on}"
    found: datetime | None = connection.exec_driver_sql(
        statement, {**record.enerflo_key, "account": account}
    ).scalar()
    return found


def _story(name: str, known: _Known) -> FieldStory:
    mapping = known.record.comparison.mapping.fields.get(name)
    steps = [step for step in known.steps if step.field == name]
    later = [step for step in known.later if step.field == name]
    past = known.as_of is not None
    return FieldStory(
        field=name,
        enerflo_column=mapping.enerflo if mapping else None,
        policy=str(mapping.source_of_truth) if mapping else None,
        enerflo=_enerflo_side(name, known, later) if mapping else None,
        crm=_crm_side(name, known, later) if mapping else None,
        same=None if past or known.record.equal is None else known.record.equal.get(name),
        agreed=known.agreed.get(name),
        steps=steps,
        waiting=[one for one in known.waiting if one.field == name],
        later=len(later),
    )


def _enerflo_side(name: str, known: _Known, later: Sequence[Step]) -> SideValue:
    record, as_of = known.record, known.as_of
    present = (record.enerflo_values or {}).get(name)
    if as_of is not None and record.observed_at is not None and record.observed_at > as_of:
        version = next((one for one in reversed(known.versions) if one.first_seen_at <= as_of), None)
        if version is not None:
            told = _evidence(known, name, version.values.get(name), as_of)
            value = version.values.get(name)
            return SideValue(
                exists=True,
                value=value,
                evidence=told,
                known_from=KnownFrom.VERSION,
                pruned=known.witness.pruned_until(as_of),
            )
        if later:
            return _side_before(later[0], "to_enerflo", as_of)
    is_later = _is_later(known, name, known.deleted_at or record.observed_at, "value", present)
    # The evidence of a value that may have come later is that of the present.
    seen = record.observed_at if is_later else as_of or record.observed_at
    return SideValue(
        exists=record.in_enerflo,
        rejected=not record.deleted and any(one.kind is WaitingKind.QUARANTINED for one in known.waiting),
        value=present,
        evidence=_evidence(known, name, present, seen) if seen is not None and record.in_enerflo else None,
        is_later=is_later,
    )


def _evidence(known: _Known, name: str, value: Any, seen: datetime) -> Any:
    record = known.record
    if known.versions:
        return evidence_of(known.witness, record, name, value, seen)
    return known.witness.of_mirror(record.observed_at) if record.observed_at is not None else None


def _crm_side(name: str, known: _Known, later: Sequence[Step]) -> SideValue:
    record, as_of = known.record, known.as_of
    if as_of is not None and later:
        return _side_before(later[0], "to_crm", as_of)
    value = (record.crm_values or {}).get(name)
    return SideValue(
        exists=bool(record.crm_rows),
        value=value,
        changed_at=record.changed_at,
        is_later=_is_later(known, name, record.changed_at, "crm_value", value),
    )


def _is_later(known: _Known, name: str, changed_at: datetime | None, side: str, value: Any) -> bool:
    """Return whether a side's present value may be another one than at the time in the past.

    It is the same if the record did not change since, or if both sides had agreed on it by then.

    :param side: the attribute of an agreement with this side's value.
    """
    if known.as_of is None or (changed_at is not None and changed_at <= known.as_of):
        return False
    agreed = known.agreed.get(name)
    return agreed is None or getattr(agreed, side) != value


def _side_before(step: Step, written: str, as_of: datetime) -> SideValue:
    """Return a side at a time before a step.

    :param written: the direction that writes this side.
    """
    made = step.direction == written
    seen = step.observed_at or step.changed_at
    if step.op == "insert" and (made or (seen is not None and seen > as_of)):
        return SideValue(exists=False, known_from=KnownFrom.LEDGER)
    return SideValue(exists=True, value=_before(step, written, as_of), known_from=KnownFrom.LEDGER)


def _before(step: Step, written: str, as_of: datetime) -> Any:
    """Return a side's value at a time before a step.

    The value of the losing side is the old value in the step. The winning side has its value since
    ``changed_at``. Before that it had the same value as the other side, unless both sides had changed.

    :param written: the direction that writes this side.
    """
    if step.direction == written:
        return step.old_value
    alone = "base_known" in step.facts and not {"enerflo_moved", "crm_moved"} <= set(step.facts)
    if step.changed_at is not None and step.changed_at > as_of and alone:
        return step.old_value
    return step.said
