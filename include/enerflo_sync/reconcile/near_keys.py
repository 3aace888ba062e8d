"""Records that seem to be missing in the CRM because the CRM spells their key differently.

A copy may keep a key as text with leading zeros, with blanks around it, in another case, with letters beside
the number (``INS-00123``), or as a spreadsheet's number that lost its last digits. Compared without options
such a key matches nothing: the record is reported as missing, and a plan would insert its row a second time.
So the keys without a match are compared again, ignoring differences of spelling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.join_columns import JoinColumn

# Case, leading zeros and a trailing `.0` do not count, nor does anything but letters, digits and points: all
# white space, invisible characters, signs, quotes, separators.
_NO_LETTER = r"[\u0001-\u002d\u002f:-@[-`\u007b-\u00bf\u2000-\u206f\u3000\ufeff]"
# Full-width and other compatibility forms of letters and digits are those letters and digits. PostgreSQL
# knows them in UTF-8 alone; other encodings of a server have none.
_COMPATIBLE = "case when getdatabaseencoding() = 'UTF8' then normalize({0}, NFKC) else {0} end"
_NORMAL = (
    f"regexp_replace(regexp_replace(lower({_COMPATIBLE}), '{_NO_LETTER}', '', 'g'),"
    " '^0*(?=[^.])|[.]0*$', '', 'g')"
)
# A text with one number in it names the record of that number, whatever else the text holds.
_ONE_NUMBER = r"regexp_replace({}, '^[^0-9]*0*([0-9]+)[^0-9]*$', E'\\1')"
# A spreadsheet writes a long number with an exponent, in as many digits as it shows: 4.400007E+06 or 4.4E+06.
_EXPONENT = r"^[\s+'']*[0-9]{1,19}(?:[.][0-9]{1,19})?[eE][+]?[0-9]{1,2}\s*$"
_ROUNDED = Template(r"""case when $text ~ '$exponent' then
  round(($number)::numeric, length(coalesce(substring($text from '[.]([0-9]+)'), ''))
    - substring($text from '[eE][+]?([0-9]+)')::integer)
  = regexp_replace($text, '[^0-9.eE]', '', 'g')::numeric else false end""")

# A row whose key matches a record exactly names only that record. That is looked at first: nearly all rows
# do, and to bring a key into its plain spelling takes five times as long.
_UNMET = Template("""select $columns from $crm t where ($which) and not exists (
    select from $mirror e where $mirror_rows and e.deleted_at is null and $meets) offset 0""")

_NEAR = Template("""
select distinct $missing_names from (
  select x.* from ($missing) x join ($unmet) t on $near
  $rounded
) x""")

# Numbers that lost digits are few different texts, each of which may name many records.
_OR_ROUNDED = Template("""union all
  select x.* from ($missing) x
  join (select distinct $columns from ($unmet) t) t on $near_or_rounded""")

_COUNT = Template("""
/* enerflo-sync reconcile $name: missing records that the CRM names in another spelling */
select count(*) from ($rows) n
""")
_MISSING = Template("""select $names from sync.differences d
  where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
    and d.field is null and d.crm_value is null""")

# PostgreSQL makes each list once for all records of the statement.
_NONE_NEAR = Template("""and not exists (select from ($unmet) t where $near)""")
_NONE_ROUNDED = Template("""
and not exists (
    select from (select distinct $columns from ($unmet) t) t where $near_or_rounded)""")

_KEEP = Template("""
/* enerflo-sync plan $name: missing records that the CRM names in another spelling */
create temporary table $near on commit drop as $rows
""")

OTHER_SPELLING = (
    "a row of the CRM names it in another spelling of the key, or may do so: enerflo-sync doctor says whether"
    " an option of the key reads it, otherwise clean the key there"
)


def may_be_near(comparison: Comparison) -> bool:
    """Return whether one key can have two spellings: the CRM stores it as text."""
    return any(join.live.kind is Kind.TEXT for join in comparison.joins)


def count_near_keys(connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]) -> int:
    """Return how many records that a reconciliation reports as missing have a CRM row in another spelling.

    :param parameters: ``account`` and ``reconciliation_id``, whose differences are stored.
    """
    names = ", ".join(
        f"d.key ->> {literal(join.crm_name)} as m{n}" for n, join in enumerate(comparison.joins, 1)
    )
    missing = _MISSING.substitute(names=names, table=literal(comparison.name))
    statement = _COUNT.substitute(name=comparison.name, rows=_near(comparison, missing))
    return int(connection.exec_driver_sql(statement, parameters).scalar_one())


def keep_near_keys(connection: sa.Connection, comparison: Comparison, account: str) -> str:
    """Collect such records of ``mismatched``; return the condition that a row ``o`` is one of them."""
    if not may_be_near(comparison):
        return "false"
    numbers = range(1, len(comparison.joins) + 1)
    names = ", ".join(f"o.j{n}::text as m{n}" for n in numbers)
    missing = f"select {names} from {comparison.mismatched} o where o.in_enerflo and not o.in_crm"  # noqa: S608 - names
    near = f"pg_temp.near_{comparison.name}"
    statement = _KEEP.substitute(name=comparison.name, near=near, rows=_near(comparison, missing))
    connection.exec_driver_sql(statement, {"account": account})
    same = " and ".join(f"n.m{n} = o.j{n}::text" for n in numbers)
    return f"exists (select from {near} n where {same})"


def no_near_row(comparison: Comparison, links: Mapping[str, str]) -> str:
    """Return ``and …``: no CRM row names the record in another spelling now; takes ``account``.

    An insert needs this check, since somebody may have made the row by hand after the plan was made.

    :param links: the record's value of each join column, as an expression.
    """
    if not may_be_near(comparison) or links.keys() != {join.crm_name for join in comparison.joins}:
        return ""
    keys = {join: f"({links[join.crm_name]})::text" for join in comparison.joins}
    condition = _NONE_NEAR.substitute(
        unmet=_unmet(comparison),
        near=" and ".join(_is_near(join, key) for join, key in keys.items()),
    )
    if any(map(_is_number_in_text, comparison.joins)):
        condition += _NONE_ROUNDED.substitute(_rounded(comparison, keys))
    return condition


def is_near_any(connection: sa.Connection, key: str, others: Sequence[str]) -> bool:
    """Return whether one of the other texts is the same key in another spelling."""
    of_number = f"m.key ~ '^[0-9]+$' and {_ONE_NUMBER.format(normal_key('o.key'))} = {normal_key('m.key')}"
    query = (
        f"/* enerflo-sync carry: keys in another spelling */ select exists (select"  # noqa: S608 - constants
        f" from unnest(%(others)s::text[]) o(key), (select %(key)s::text as key offset 0) m"
        f" where {normal_key('o.key')} = {normal_key('m.key')} or {of_number})"
    )
    named = {"others": list(others), "key": key}
    return bool(connection.exec_driver_sql(query, named).scalar_one())


def _near(comparison: Comparison, missing: str) -> str:
    keys = {join: f"x.m{n}" for n, join in enumerate(comparison.joins, 1)}
    rounded = ""
    if any(map(_is_number_in_text, comparison.joins)):
        rounded = _OR_ROUNDED.substitute(_rounded(comparison, keys), missing=missing)
    return _NEAR.substitute(
        missing=missing,
        missing_names=", ".join(keys.values()),
        unmet=_unmet(comparison),
        near=" and ".join(_is_near(join, key) for join, key in keys.items()),
        rounded=rounded,
    )


def _rounded(comparison: Comparison, keys: Mapping[JoinColumn, str]) -> dict[str, str]:
    numbers = filter(_is_number_in_text, comparison.joins)
    return {
        "unmet": _unmet(comparison, " or ".join(f"{_text(join)} ~ '{_EXPONENT}'" for join in numbers)),
        "columns": _columns(comparison),
        "near_or_rounded": " and ".join(_near_or_rounded(join, key) for join, key in keys.items()),
    }


def _unmet(comparison: Comparison, which: str = "") -> str:
    """Return the query of the CRM's rows whose key meets no living record.

    :param which: the condition of the wanted rows; those whose key can be spelled otherwise if empty.
    """
    texts = (join for join in comparison.joins if join.live.kind is Kind.TEXT)
    return _UNMET.substitute(
        columns=_columns(comparison),
        # A row that is marked as deleted, or does not meet `where`, also prevents an insert.
        crm=comparison.crm,
        which=which or " or ".join(map(_is_spelled, texts)),
        mirror=comparison.mirror,
        mirror_rows=comparison.mirror_rows,
        meets=" and ".join(
            f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
        ),
    )


def _columns(comparison: Comparison) -> str:
    return ", ".join(f"t.{quoted(join.crm_name)}" for join in comparison.joins)


def normal_key(text: str) -> str:
    """Return the plain spelling of a key, as an expression."""
    return _NORMAL.format(text)


def _normal_text(join: JoinColumn) -> str:
    """Return the plain spelling of a CRM row's key."""
    normal = normal_key(_text(join))
    return _ONE_NUMBER.format(normal) if _is_number_in_text(join) else normal


def _is_near(join: JoinColumn, key: str) -> str:
    return f"{normal_key(key)} = {_normal_text(join)}"


def _near_or_rounded(join: JoinColumn, key: str) -> str:
    if not _is_number_in_text(join):
        return _is_near(join, key)
    return (
        f"({_is_near(join, key)} or {_ROUNDED.substitute(text=_text(join), exponent=_EXPONENT, number=key)})"
    )


def _is_number_in_text(join: JoinColumn) -> bool:
    return join.mirror_kind is Kind.INTEGER and join.live.kind is Kind.TEXT


def _text(join: JoinColumn) -> str:
    return f"{join.raw('t')}::text"


def _is_spelled(join: JoinColumn) -> str:
    """Return whether a value can be another value's spelling: a number can, unless it is plain digits."""
    raw = _text(join)
    if join.mirror_kind is not Kind.INTEGER:
        return f"{raw} <> ''"
    return f"{raw} <> '' and (btrim({raw}, '0123456789') <> '' or left({raw}, 1) = '0')"
