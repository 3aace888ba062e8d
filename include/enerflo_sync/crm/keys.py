"""Keys in SQL: the values of both sides in the domain in which they are compared."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.options import KeyColumn, KeyType

# Collations with case rules beyond ASCII; the first one that the server has is used.
_FOLDS = ("pg_unicode_fast", "pg_c_utf8", "und-x-icu")
_BLANK = "E' \\t\\r\\n'"

_WHOLE = "^[-+]?0*[0-9]{1,18}(?:[.]0*)?$"

_WHOLE_NUMBER = "^-?[0-9]{1,19}(?:[.]0+)?$"
_NUMBER = "^-?[0-9]{1,130}(?:[.][0-9]{1,100})?$"
_SMALL_NUMBER = "^-?[0-9]{1,37}(?:[.][0-9]{1,30})?$"
_UUID = "^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_BITS = {"int2": 16, "int4": 32, "int8": 64}
# How a text is compared with a column of texts, by the column's type: never cut to its length.
TEXTS = {"varchar": "text", "char": '"char"'} | {name: name for name in ("text", "bpchar", "name", "citext")}

# Kinds of columns that hold whole numbers of type integer.
INTEGER_KINDS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT})


def case_folding(connection: sa.Connection) -> str:
    """Return the collation whose case rules apply, quoted; empty if the server has no known one."""
    query = sa.text(
        "select collname from pg_catalog.pg_collation"
        " where collname = any(:names) and getdatabaseencoding() = 'UTF8'"
        " order by array_position(cast(:names as text[]), collname::text)"
    )
    name = connection.scalar(query, {"names": list(_FOLDS)})
    return f'"{name}"' if name else ""


def key_value(raw: str, kind: Kind, options: KeyColumn, fold: str) -> str:
    """Return a key's value in the domain of ``options``: bigint or text; null if it is no key there.

    :param raw: the expression of the value, of kind ``kind``; text is plain text.
    :param fold: from :func:`case_folding`.
    """
    if options.type is KeyType.INTEGER:
        return _integer(raw, kind, options)
    value = _text(raw, kind)
    if kind is Kind.TEXT and options.trim:
        value = f"btrim({value}, {_BLANK})"
    if options.strip_zeros:
        value = f"regexp_replace({value}, '^0+(?=.)', '')"
    if options.fold_case:
        # Back to the database's own collation, so that the text compares with texts of any other source.
        value = f'(lower({value}{f" collate {fold}" if fold else ""}) collate "default")'
    return f"nullif({value}, '')"


def _text(raw: str, kind: Kind) -> str:
    if kind is Kind.DECIMAL:
        return f"trim_scale({raw})::text"
    return raw if kind is Kind.TEXT else f"{raw}::text"


def _integer(raw: str, kind: Kind, options: KeyColumn) -> str:
    match kind:
        case Kind.INTEGER:
            return raw
        case Kind.DECIMAL | Kind.FLOAT:
            return f"(case when abs({raw}) < 1e18 and trunc({raw}::numeric) = {raw} then {raw}::bigint end)"
        case _:
            # Nearly all keys are digits alone; this test takes a tenth of a pattern's time.
            texts = [raw, f"btrim({raw}, {_BLANK})"] if options.trim else [raw]
            digits = " ".join(f"when {_is_digits(text)} then {text}::bigint" for text in texts)
            text = texts[-1]
            return f"(case {digits} when {text} ~ {literal(_WHOLE)} then {text}::numeric::bigint end)"


def _is_digits(text: str) -> str:
    return f"btrim({text}, '0123456789') = '' and octet_length({text}) between 1 and 18"


def as_text(raw: str, live: LiveColumn) -> str:
    """Return a value of a column of texts as plain text, to which only the same text is equal.

    char(n) pads its values. A nondeterministic collation is no option of the mapping (``fold_case`` is), and
    PostgreSQL allows no pattern match under one.
    """
    if live.loose:
        return f'({raw}::text collate "default")'
    return raw if live.is_plain_text else f"{raw}::text"


def fitting(live: LiveColumn, text: str) -> str:
    """Return an SQL text in the type of a key column, to compare with it; null where it is no value of it.

    What is stored of a key may come from a time when the column had another type.
    """
    text = f"({text})"
    match live.kind:
        case Kind.INTEGER if live.base in _BITS:
            most = 2 ** (_BITS[live.base] - 1) - 1
            within = f"case when {text}::numeric between {-most - 1} and {most} then {text}::numeric end"
            within = f"({within})::{live.base}"
            return f"(case when {text} ~ {literal(_WHOLE_NUMBER)} then {within} end)"
        case Kind.DECIMAL:
            return f"(case when {text} ~ {literal(_NUMBER)} then {text}::numeric end)"
        case Kind.FLOAT:
            digits = _SMALL_NUMBER if live.base == "float4" else _NUMBER
            return f"(case when {text} ~ {literal(digits)} then {text}::{live.base} end)"
        case Kind.UUID:
            return f"(case when lower({text}) ~ {literal(_UUID)} then {text}::uuid end)"
        case Kind.TEXT if live.base in TEXTS:
            return f"{text}::{TEXTS[live.base]}"
        case Kind.TEXT:
            words = f"enum_range(null::{live.sql_type})::text[]"
            return f"(case when {text} = any({words}) then {text}::{live.sql_type} end)"
        case _:
            return f"{text}::{live.sql_type}"


def is_blank(raw: str, kind: Kind) -> str:
    """Return the condition that a key's column is empty: null, or white space."""
    return f"nullif(btrim({raw}, {_BLANK}), '') is null" if kind is Kind.TEXT else f"{raw} is null"


def may_meet(kind: Kind, options: KeyColumn) -> bool:
    """Return whether two different values of the column can be one key in the domain of ``options``."""
    changes = options.trim or options.strip_zeros or options.fold_case
    return kind is Kind.TEXT and (options.type is KeyType.INTEGER or changes)


def sql_type(options: KeyColumn) -> str:
    """Return the SQL type of :func:`key_value`."""
    return "bigint" if options.type is KeyType.INTEGER else "text"


def proves_unique(connection: sa.Connection, rows: str, typed: Sequence[tuple[str, str]]) -> bool:
    """Return whether an index proves that no two rows share the values of expressions. Reads no rows.

    A left join with a unique relation changes nothing, so the planner removes it.

    :param rows: the rows as a relation with the alias ``t``, to which the expressions refer.
    :param typed: the expressions, each with its SQL type.
    """
    values = ", ".join(f"null::{kind} as v{n}" for n, (_, kind) in enumerate(typed))
    on = " and ".join(f"{one} = v.v{n}" for n, (one, _) in enumerate(typed))
    query = f"select v.* from (select {values} offset 0) v left join {rows} t on {on}"  # noqa: S608 - names
    return not any("Join" in line for line in _planned(connection, query))


def is_indexed(connection: sa.Connection, rows: str, typed: Sequence[tuple[str, str]]) -> bool:
    """Return whether an index finds a row by the values of expressions; see :func:`proves_unique`."""
    where = " and ".join(f"{one} = (select null::{kind} offset 0)" for one, kind in typed)
    return any("Index Cond" in line for line in _planned(connection, f"select from {rows} t where {where}"))


def _planned(connection: sa.Connection, query: str) -> Sequence[str]:
    """Return the plan of a query, made as if reading whole tables were the last resort."""
    # No savepoint: after its rollback it stays open, and a snapshot cannot be exported from within one.
    usual = connection.exec_driver_sql("show enable_seqscan").scalar_one()
    connection.exec_driver_sql("set local enable_seqscan = off")
    plan = connection.exec_driver_sql(f"/* enerflo-sync keys */ explain (costs off) {query}", {})
    lines = [str(line) for line in plan.scalars()]
    connection.exec_driver_sql(f"set local enable_seqscan = {usual}")
    return lines
