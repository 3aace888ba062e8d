"""What-if for past decisions: another mapping decides them again from the facts that the ledger stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.decision import FACTS, WINNER_RULES, Rule, constant_facts, decide
from enerflo_sync.crm.mapping import RecordKind, Side
from enerflo_sync.plan.what_if_plan import masked_value, stricter_classes
from enerflo_sync.reconcile.conditions import kind_parameters
from enerflo_sync.reconcile.store import Classes, masked_key
from enerflo_sync.warehouse.pruned import latest_pruning

NOT_MAPPED = "not_mapped"
_DECIDED_BY_FIELD = sorted({rule.name for rule in WINNER_RULES})

_VOIDED = sa.text("""
/* enerflo-sync what-if: names of the voided statuses */
select unnest(cast(:voided_names as text[]))
union select lower(btrim(name)) from enerflo.install_statuses
where account = :account and status_id = any(cast(:voided_ids as bigint[])) and name is not null
""")

# In the ledger, Enerflo's value is the new value of a change to the CRM and the old value of a change to
# Enerflo.
_DECISIONS = sa.text("""
/* enerflo-sync what-if: past decisions, grouped by the facts that they were made from */
select l.table_name, l.field, l.direction, l.policy, l.rule, l.facts, v.mine_voids, v.theirs_void,
       count(*) as count
from sync.ledger l cross join lateral (
  select coalesce(lower(btrim(case l.direction when 'to_crm' then l.new_value else l.old_value end #>> '{}'))
           = any(:voided), false) as mine_voids,
         coalesce(lower(btrim(case l.direction when 'to_crm' then l.old_value else l.new_value end #>> '{}'))
           = any(:voided), false) as theirs_void
) v
where l.account = :account and l.recorded_at > :since and l.op = 'update' and l.field is not null
  and l.rule = any(:rules)
group by 1, 2, 3, 4, 5, 6, 7, 8 order by count desc
""").bindparams(
    sa.bindparam("voided", type_=sa.ARRAY(sa.Text)), sa.bindparam("rules", type_=sa.ARRAY(sa.Text))
)

_OTHERS = sa.text("""
/* enerflo-sync what-if: decisions that do not depend on a field's mapping */
select rule, count(*) as number from sync.ledger
where account = :account and recorded_at > :since and not (op = 'update' and rule = any(:rules))
group by 1 order by 2 desc, 1
""").bindparams(sa.bindparam("rules", type_=sa.ARRAY(sa.Text)))

_SAMPLES = sa.text("""
/* enerflo-sync what-if: some decisions of one kind */
select key, old_value, new_value, decision, recorded_at, plan_hash from sync.ledger
where account = :account and recorded_at > :since and op = 'update' and table_name = :table_name
  and field = :field and direction = :direction and policy = :policy and rule = :rule and facts = :facts
order by recorded_at desc, ledger_id desc limit :samples
""").bindparams(sa.bindparam("facts", type_=JSONB))


class DecisionSample(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of the past, its values masked."""

    key: Mapping[str, Any]
    old_value: Any
    new_value: Any
    decision: str
    recorded_at: datetime
    plan_hash: str


class DecisionDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions about one field that the other mapping would all change to the same outcome.

    :param was: to_crm or to_enerflo, the side that the decision wrote.
    :param would_be: to_crm, to_enerflo, review, keep, or not_mapped.
    :param would_be_words: the words of the rule that would decide under the other mapping.
    """

    table_name: str
    field: str
    was: str
    was_rule: str
    would_be: str
    would_be_rule: str | None
    would_be_words: str
    count: int
    samples: Sequence[DecisionSample]


def decide_again(
    connection: sa.Connection, config: SyncConfig, new: SyncConfig, account: str, days: int, samples: int
) -> dict[str, Any]:
    """Return the decisions of the last ``days`` days that would have another outcome under the other mapping.

    The keys are those of :class:`enerflo_sync.plan.what_if.WhatIf`.
    """
    since = connection.scalar(sa.text("select now() - make_interval(days => :days)"), {"days": days})
    voided = [
        *connection.scalars(_VOIDED, {"account": account, **kind_parameters("voided", new.statuses.voided)})
    ]
    values = {"account": account, "since": since, "rules": _DECIDED_BY_FIELD}
    rows = connection.execute(_DECISIONS, {**values, "voided": voided}).mappings().all()
    classes = stricter_classes(config, new, account)
    found: dict[tuple[str, ...], DecisionDifference] = {}
    for row in rows:
        outcome, rule = _decided(new, account, row)
        if outcome == row["direction"]:
            continue
        name = rule.name if rule is not None else None
        group = (row["table_name"], row["field"], row["direction"], row["rule"], outcome, name or "")
        known = found.get(group)
        shown = list(known.samples) if known is not None else []
        room = samples - len(shown)
        if room > 0:
            some = connection.execute(_SAMPLES, {**row, "account": account, "since": since, "samples": room})
            shown += [_sample(one, row, classes) for one in some.mappings()]
        found[group] = DecisionDifference(
            table_name=row["table_name"],
            field=row["field"],
            was=row["direction"],
            was_rule=row["rule"],
            would_be=outcome,
            would_be_rule=name,
            would_be_words=rule.words if rule is not None else "the mapping does not have the field",
            count=row["count"] + (known.count if known is not None else 0),
            samples=shown,
        )
    pruning = latest_pruning(connection, account, "ledger", since)
    return {
        "since": since,
        "thinned": None if pruning is None else str(pruning),
        "decided": sum(row["count"] for row in rows),
        "not_decided": {row.rule: row.number for row in connection.execute(_OTHERS, values)},
        "decisions": sorted(found.values(), key=lambda one: -one.count),
    }


def _decided(new: SyncConfig, account: str, row: sa.RowMapping) -> tuple[str, Rule | None]:
    """Return the outcome of a past decision under the new mapping, and the rule that decides it."""
    mapping = new.tables_for(account).get(row["table_name"])
    field = mapping.fields.get(row["field"]) if mapping is not None else None
    if mapping is None or field is None:
        return NOT_MAPPED, None
    kind = mapping.kind(row["table_name"])
    held = {fact: fact in row["facts"] for fact in FACTS}
    constants = {name: value for name, value in constant_facts(kind, mapping, field).items() if name in held}
    is_status = kind == RecordKind.INSTALLS and field.enerflo == "status_name"
    barred = {
        "crm_barred": is_status and Side.CRM not in mapping.void_in and row["mine_voids"],
        "enerflo_barred": is_status and Side.ENERFLO not in mapping.void_in and row["theirs_void"],
    }
    outcome, rule = decide(field.source_of_truth, held | constants | barred)
    return str(outcome), rule


def _sample(one: sa.RowMapping, row: sa.RowMapping, classes: Classes) -> DecisionSample:
    values = {
        name: masked_value(classes, row["table_name"], row["field"], one[name])
        for name in ("old_value", "new_value")
    }
    key = masked_key(row["table_name"], one["key"], classes)
    return DecisionSample(**{**one, **values, "key": key})
