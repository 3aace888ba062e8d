"""Sentences that people wrote, or that were sent to them, without what names one customer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from string import Template

import sqlalchemy as sa

# A shorter text stands in other words too: it is looked for as a word.
SHORTEST = 6
_WORDS = {
    "sync.plans": ("decision_reason",),
    "sync.refusals": ("reason", "end_reason"),
    "sync.ledger": ("reason",),
    "sync.plan_changes": ("reason",),
    "sync.quarantine": ("decision_reason",),
    "sync.notifications": ("subject", "text"),
}
_SET_WORDS = Template("""
/* enerflo-sync forget: a customer in sentences */
update $table t set $column =
  regexp_replace(regexp_replace(t.$column, :certain, '(forgotten)', 'g'), :beside, '(forgotten)', 'g')
where t.account = :account and t.$column ~ :certain
""")


def is_certain(value: str) -> bool:
    """Return whether a name or an address names somebody wherever it stands: one short word does not."""
    return len(value) >= SHORTEST or " " in value


def erase_words(
    connection: sa.Connection, account: str, certain: Collection[str], beside: Collection[str]
) -> Iterator[tuple[str, int]]:
    """Replace a customer's values in sentences by ``(forgotten)``; yield each table, and in how many rows.

    :param certain: values that name the customer.
    :param beside: values that many people have: replaced in sentences that name the customer.
    """
    if not certain:
        return
    named = {"account": account, "certain": _pattern(certain), "beside": _pattern(beside or certain)}
    for table, columns in _WORDS.items():
        hits = 0
        for column in columns:
            statement = sa.text(_SET_WORDS.substitute(table=table, column=column))
            hits += connection.execute(statement, named).rowcount
        if hits:
            yield table, hits


def _pattern(values: Collection[str]) -> str:
    """Return a pattern for any of some values, the longest first: a name may stand within an address."""
    ordered = sorted(values, key=len, reverse=True)
    found = [
        re.escape(value) if len(value) >= SHORTEST else rf"(?<!\w){re.escape(value)}(?!\w)"
        for value in ordered
    ]
    return "|".join(found)
