"""``where`` in sync.yaml: the condition that a CRM row must meet to count.

The text is checked twice. By its words it must be one condition that reads no other table and no clock, so
that the same row always gives the same result. Then PostgreSQL must accept it for the table's columns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.names import quoted

# Comments and dollar quotes are refused, since they could hide a query or a clock from the check of words.
_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    |(?P<comment>--|/\*)
    |(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*')
    |(?P<text>(?:[bBxXnN])?'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")+")
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<open>\()|(?P<close>\))
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_QUERIES = frozenset({"select", "with", "values", "table", "exists"})
# Words whose value depends on the time or on the role. `now` and similar words are also moments as text.
_CLOCK = frozenset(
    """
    current_catalog current_date current_role current_schema current_time current_timestamp current_user
    localtime localtimestamp session_user system_user user
    """.split()
)
_CLOCK_FUNCTIONS = frozenset(
    """
    now transaction_timestamp statement_timestamp clock_timestamp timeofday age current_setting
    current_database current_query
    """.split()
)
_MOMENTS = frozenset({"now", "today", "tomorrow", "yesterday"})

# The same, for a row that a plan inserts.
NEW_OUTSIDE = "the new row would stand outside where: nothing fills the columns that the condition asks for"
NEW_UNSEEN = "the CRM's view would not show the new row, and it would be made again"
NEW_MARKED = "the new row would count as deleted (deleted_when): the table marks it when it is made"
# The same, for a row that a plan changes.
LEAVES = (
    "its row would stand outside where afterwards, or count as deleted, and never be compared again: make the"
    " change in the CRM, or change the mapping"
)
LEAVES_VIEW = (
    "the CRM's view would not show its row any more, and nothing would compare it again: make the change in"
    " the CRM, or change the view"
)

_EXPECTED = "a condition in SQL over the table's own columns, as in \"RecordTypeName\" = 'Solar'"
_SAME = "a condition that the same row always meets or always fails"

_FUNCTIONS = sa.text("""
/* enerflo-sync where: which functions may say something else of the same row */
select p.proname from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = any(:names) and p.prokind = 'f'
group by p.proname
having bool_or(p.provolatile = 'v' or (p.provolatile = 's' and n.nspname <> 'pg_catalog'))
order by 1
""")


@dataclass(frozen=True)
class Token:
    """A part of a condition: its kind by the pattern's name, and its text."""

    kind: str
    text: str


def tokens(text: str) -> Iterator[Token]:
    """Yield the parts of a condition, without the space between them."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            yield Token(str(match.lastgroup), match.group())


def word_problem(text: str) -> tuple[str, str] | None:
    """Return what is found and what is expected, if the words alone are no condition on one table."""
    if not text.strip():
        return "nothing", _EXPECTED
    depth = 0
    for token in tokens(text):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth < 0:
            return "a closing parenthesis that nothing opens", _EXPECTED
        if token.kind == "comment":
            return f"a comment ({token.text})", f"{_EXPECTED}; a comment stands behind # in the file"
        if token.kind == "other" and token.text in ";$'\"\\":
            return f"the character {token.text}", _EXPECTED
        word = token.text.lower()
        if token.kind == "word" and word in _QUERIES:
            return f"a query ({token.text})", f"{_EXPECTED}, and of no other table"
        if token.kind == "word" and word in _CLOCK:
            return token.text, _SAME
        if token.kind in ("text", "escaped") and _literal(word) in _MOMENTS:
            return token.text, f"{_SAME}: a moment is written as a date"
    called = [name for name in _called(text) if name in _CLOCK_FUNCTIONS]
    if called:
        return f"{called[0]}()", _SAME
    return ("a parenthesis that nothing closes", _EXPECTED) if depth else None


def _called(text: str) -> list[str]:
    """Return the names before a parenthesis: functions, and words such as ``in``."""
    found = list(tokens(text))
    pairs = pairwise(found)
    return [_plain(one) for one, after in pairs if one.kind in ("word", "name") and after.kind == "open"]


def _literal(text: str) -> str:
    return text.partition("'")[2].rstrip("'").strip()


def _plain(token: Token) -> str:
    if token.kind == "name":
        return token.text[1:-1].replace('""', '"')
    return token.text.lower()


def named_columns(text: str, table: LiveTable) -> Sequence[str]:
    """Return the columns of the table that a condition names, in the table's order."""
    names = {_plain(token) for token in tokens(text) if token.kind in ("word", "name")}
    return [column for column in table.columns if column in names]


def names_any(text: str, columns: Collection[str]) -> bool:
    """Return whether a condition in another database's SQL names one of the columns, in whatever case."""
    names = {_plain(token).casefold() for token in tokens(text) if token.kind in ("word", "name")}
    return not names.isdisjoint(column.casefold() for column in columns)


def condition(text: str) -> str:
    """Return the condition for a statement with ``%(name)s`` parameters and the table's columns in scope."""
    return f"({text.replace('%', '%%')})"


def met_by(text: str, table: LiveTable, alias: str, *, verdict: str = "is true") -> str:
    """Return whether the row ``alias`` meets a condition, as an expression that is never null.

    The condition sees only the row's columns, whatever else is in the statement's scope.

    :param verdict: ``is null``: whether the condition neither includes nor excludes the row.
    """
    columns = named_columns(text, table)
    row = ", ".join(f"{alias}.{quoted(name)}" for name in columns) or "null"
    names = ", ".join(quoted(name) for name in columns) or "none"
    return f"(select {condition(text)} {verdict} from (values ({row})) t({names}))"  # noqa: S608 - checked


def rows_where(
    text: str | None,
    table: LiveTable,
    marks: str = "true",
    *,
    outside: bool = False,
    xmin: bool = False,
    hidden: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the table's rows that meet a condition, or do not, as a relation to select from.

    :param marks: a further condition on the row ``t``.
    :param xmin: include the transaction that wrote each row, if the table has it.
    :param hidden: by column, the condition on the row ``t`` under which its value is not read.
    """

    def value(name: str) -> str:
        if name not in hidden:
            return f"t.{quoted(name)}"
        return f"case when not ({hidden[name]}) then t.{quoted(name)} end as {quoted(name)}"

    columns = ", ".join(
        [
            *(["t.xmin"] if xmin and not table.view else []),
            *(value(name) for name, column in table.columns.items() if column.readable),
        ]
    )
    which = "true" if text is None else f"{condition(text)}{' is not true' if outside else ''}"
    return f"(select {columns} from {quoted(table.schema, table.name)} t where {marks} and {which})"  # noqa: S608


def condition_problem(connection: sa.Connection, text: str, table: LiveTable) -> tuple[str, str] | None:
    """Return what is found and what is expected, if the database does not accept the text as a condition.

    It neither reads nor writes the table.
    """
    moving = connection.execute(_FUNCTIONS, {"names": _called(text)}).scalars().all()
    if moving:
        return f"{moving[0]}(), a function that may say something else of the same row", _SAME
    columns = ", ".join(f"t.{quoted(name)}" for name, column in table.columns.items() if column.readable)
    rows = f"select {columns} from {quoted(table.schema, table.name)} t"  # noqa: S608 - quoted names
    query = f"/* enerflo-sync where */ explain select from ({rows}) t where {condition(text)}"
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(query, {}).close()
    except sa.exc.DBAPIError as error:
        return _said(error), _EXPECTED
    return None


def _said(error: sa.exc.DBAPIError) -> str:
    # Reading the configuration, as DAG files do, must not import the driver.
    cause: Any = error.orig
    # Errors of the text: syntax and names, unsuitable values, and what a condition cannot do.
    if (getattr(cause, "sqlstate", None) or "")[:2] not in {"42", "22", "0A"}:
        raise error
    return f"what PostgreSQL does not take: {cause.diag.message_primary or 'an error'}"


def excludes_everything(
    connection: sa.Connection, text: str, table: LiveTable, others: Sequence[str] = ()
) -> bool:
    """Return whether no row of a table meets a condition, and some rows meet no other condition either.

    :param others: the other conditions as SQL about a row ``t``.
    """
    whole = quoted(table.schema, table.name)
    met = rows_where(text, table)
    elsewhere = " or ".join(others) or "false"
    return bool(
        connection.exec_driver_sql(
            f"/* enerflo-sync where: is any row met */ select not exists (select from {met} t)"  # noqa: S608
            f" and exists (select from {whole} t where ({elsewhere}) is not true)",
            {},
        ).scalar_one()
    )
