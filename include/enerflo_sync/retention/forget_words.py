"""Erases one customer's names and addresses in sentences that people wrote or received."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from string import Template

import sqlalchemy as sa

# A shorter text may be a part of other words, so it is replaced only as a whole word.
SHORTEST = 6
_WORDS = {
    "sync.plans": ("decision_reason",),
    "sync.refusals": ("reason", "end_reason"),
    "sync.ledger": ("reason",),
    "sync.plan_changes": ("reason",),
    "sync.plan_undecided": ("reason",),
    "sync.quarantine": ("decision_reason",),
    "sync.notifications": ("subject", "text"),
}
# JSON columns that repeat such sentences.
_IN_JSON = {"sync.plans": ("summary",)}
_SET_WORDS = Template("""
/* enerflo-sync forget: a customer in sentences */
update $table t set $column = cast(
  regexp_replace(regexp_replace(t.$column::text, :certain, '(forgotten)', 'g'), :beside, '(forgotten)', 'g')
  as $type)
where t.account = :account and t.$column::text ~ :certain
""")


def is_certain(value: str) -> bool:
    """Return whether a name or an address identifies somebody in any text; one short word does not."""
    return len(value) >= SHORTEST or " " in value


def erase_words(
    connection: sa.Connection, account: str, certain: Collection[str], beside: Collection[str]
) -> Iterator[tuple[str, int]]:
    """Replace a customer's values in sentences by ``(forgotten)``; yield each table and its number of rows.

    :param certain: values that identify the customer.
    :param beside: values that many people have; they are replaced only in sentences that contain a certain
        value.
    """
    if not certain:
        return
    for columns_of, type_ in ((_WORDS, "text"), (_IN_JSON, "jsonb")):
        spelled = _as_in_json if type_ == "jsonb" else list
        patterns = {
            "certain": _pattern(spelled(certain)),
            "beside": _pattern(spelled(beside or certain)),
        }
        for table, columns in columns_of.items():
            hits = 0
            for column in columns:
                statement = sa.text(_SET_WORDS.substitute(table=table, column=column, type=type_))
                hits += connection.execute(statement, {"account": account, **patterns}).rowcount
            if hits:
                yield table, hits


def _as_in_json(values: Collection[str]) -> list[str]:
    """Return texts as PostgreSQL writes them within a JSON string."""
    return [json.dumps(value, ensure_ascii=False)[1:-1] for value in values]


def _pattern(values: Collection[str]) -> str:
    """Return a regular expression for any of the values, the longest first: an address may contain a name."""
    ordered = sorted(values, key=len, reverse=True)
    found = [
        re.escape(value) if len(value) >= SHORTEST else rf"(?<!\w){re.escape(value)}(?!\w)"
        for value in ordered
    ]
    return "|".join(found)
