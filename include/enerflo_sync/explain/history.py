"""The ledger of one record as steps: decisions with their rule, their evidence and who approved them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.decision import BLOCKING_RULES, FACTS, POLICIES, WINNER_RULES
from enerflo_sync.explain.explanation import Evidence, Step
from enerflo_sync.explain.versions import Witness, first_holding
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.reconcile.record import FoundRecord, python_time
from enerflo_sync.warehouse.pruned import Pruning, prunings_of

# The words of rules that do not choose between two values.
_OTHER_RULES = {
    "create": "one side lacked the record and is where such records are created (create_in)",
    "delete": "Enerflo deleted the record, and the CRM's row follows (delete_in)",
    "adopted": "the CRM's row is Enerflo's record of the same content, and takes its id",
    LAST_MILESTONE: "the install's last milestone was completed in the CRM, which completes the install",
    "undo": "a person took the plan back that had written it",
    "duplicate_identity": "more than one row has this key",
}

_LEDGER = sa.text(f"""
/* enerflo-sync explain: decisions about a record */
select l.ledger_id, l.op, l.field, l.direction, l.old_value, l.new_value, l.kept_value, l.policy, l.rule,
       l.cause, l.facts,
       l.observed_at, l.recorded_at, l.decision, l.reason, l.run_id, l.plan_hash, l.decided_by, l.evidence,
       {python_time("l.changed_at")} as changed_at,
       p.source_value, p.agreed_at, p.enerflo_key, q.kind, q.stands_on, q.decided_at,
       q.plan_hash is null as without_plan
from sync.ledger l
left join sync.plans q on q.account = l.account and q.plan_hash = l.plan_hash
left join lateral (
  select c.source_value, c.agreed_at, c.enerflo_key from sync.plan_changes c
  where c.account = l.account and c.plan_hash = l.plan_hash and c.table_name = l.table_name and c.key = l.key
    and c.op = l.op and c.direction = l.direction and c.field is not distinct from l.field limit 1
) p on true
where l.account = :account and l.table_name = :table
  and l.key = any(cast(cast(:keys as text[]) as jsonb[]))
  and (cast(:field as text) is null or l.field = :field or l.field is null)
order by l.recorded_at, l.ledger_id
""")  # noqa: S608 - constants


def read_steps(
    connection: sa.Connection,
    record: FoundRecord,
    account: str,
    witness: Witness,
    field: str | None,
) -> list[Step]:
    """Return the rows of the ledger about a record as steps, oldest first.

    :param field: return only steps about this field and about the row as a whole; None returns all steps.
    """
    table = record.comparison.name
    values = {"account": account, "table": str(table), "keys": record.key_texts, "field": field}
    rows = connection.execute(_LEDGER, values).mappings().all()
    gone = prunings_of(
        connection, account, "plans", [row["recorded_at"] for row in rows if row["without_plan"]]
    )
    return [_step(row, record, witness, gone) for row in rows]


def _step(
    row: sa.RowMapping, record: FoundRecord, witness: Witness, gone: Mapping[datetime, Pruning]
) -> Step:
    pruned = gone.get(row["recorded_at"]) if row["without_plan"] else None
    kind = row["kind"] or ("undo" if row["rule"] == "undo" else "sync")
    undoes = row["stands_on"]
    if undoes is None and (row["evidence"] or "").startswith("undo:"):
        undoes = row["evidence"].removeprefix("undo:")
    said = row["source_value"] if row["source_value"] is not None else row["new_value"]
    evidence = None
    of_another = _of_another(row, record)
    if row["direction"] == "to_crm" and row["rule"] != "undo" and of_another is None:
        seen = row["observed_at"] or row["recorded_at"]
        evidence = evidence_of(witness, record, row["field"], said, seen)
    return Step(
        said=said,
        evidence=evidence,
        rule_words=rule_words(row["rule"], row["policy"], row["facts"], row["direction"]),
        confirmed_by=row["evidence"] if row["direction"] == "to_enerflo" else None,
        plan_kind=kind,
        undoes=undoes if kind == "undo" else None,
        plan_pruned=None if pruned is None else str(pruned),
        of_another=of_another,
        **{
            name: row[name]
            for name in (
                *("ledger_id", "op", "field", "direction", "old_value", "new_value"),
                *("kept_value", "policy", "rule"),
                *("cause", "facts", "agreed_at", "changed_at", "observed_at", "recorded_at", "decision"),
                *("reason", "run_id", "plan_hash", "decided_by", "decided_at"),
            )
        },
    )


def _of_another(row: sa.RowMapping, record: FoundRecord) -> str | None:
    """Return the other record that the row with this key named then: an import gives keys to other rows."""
    then, now = row["enerflo_key"] or {}, record.enerflo_key or record.named_key or {}
    # The key of a wide table's change names the milestone as well.
    if all(str(then[name]) == str(now[name]) for name in then.keys() & now.keys()):
        return None
    return ", ".join(str(value) for value in then.values())


def evidence_of(
    witness: Witness,
    record: FoundRecord,
    field: str | None,
    value: Any,
    seen: datetime,
) -> Evidence | None:
    """Return the evidence that Enerflo had ``value`` at ``seen``."""
    version = first_holding(witness.versions, field, value, seen) if field is not None else None
    if version is not None:
        return witness.of_version(version)
    return witness.of_mirror(seen)


def rule_words(rule: str, policy: str, facts: Sequence[str], direction: str) -> str:
    """Return a rule of the ledger in words; rules of one name are told apart by the facts."""
    known = {name: name in facts for name in FACTS} | {name: name == policy for name in POLICIES}
    known |= {name: name == direction for name in ("to_crm", "to_enerflo")}
    for one in (*WINNER_RULES, *BLOCKING_RULES):
        if one.name == rule and one.fits(known):
            return one.words
    return _OTHER_RULES.get(rule, rule.replace("_", " "))
