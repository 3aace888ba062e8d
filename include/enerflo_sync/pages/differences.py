"""The page of an account's differences in its newest reconciliation: filtered, fifty at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from string import Template
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from enerflo_sync.addresses import WHOLE, Place
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.masking import PersonalData
from enerflo_sync.pages.pairs import ShownPair, shown_pair
from enerflo_sync.pages.records import record_address
from enerflo_sync.reconcile.fit.hints import HINT_TEXTS
from enerflo_sync.reconcile.render.cause_texts import CAUSE_ORDER, CAUSES
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.spelling import hint_label
from enerflo_sync.reconcile.render.summary import causes_of, compared_rows, field_lines
from enerflo_sync.reconcile.render.wording import key_values
from enerflo_sync.reconcile.report import Cause, ReconciliationReport
from enerflo_sync.reconcile.store import Classes, difference, masked_key, personal_data_classes
from enerflo_sync.warehouse.engine import transaction_time

PAGE = 50
# The minimum ages in days that the page offers as filters.
AGES = (1, 7, 30)
_LONGEST = 200


_RANK = "array_position(cast(:causes as text[]), d.cause)"
_POSITION = ("gravity", "table_name", "difference_id")

_PAGE = Template("""
/* enerflo-sync pages: differences */
select d.*, $rank as gravity from sync.differences d where $where$after
order by gravity, d.table_name, d.difference_id limit :most
""")

# If the report has no figures for a filter, the matches are counted by cause, and the gravest causes are read
# until the page is full. This takes half the time of reading in order, since checking a row is cheap.
_PAGE_BY_CAUSE = Template("""
/* enerflo-sync pages: differences of a filter, counted by cause */
with n as materialized (
  select d.cause, $rank as gravity, count(*) as total, count(*) filter (where true$after) as remaining
  from sync.differences d where $where group by d.cause
), wanted as (
  select n.cause, n.gravity, sum(n.remaining) over (order by n.gravity) - n.remaining as before from n
)
select d.*, w.gravity, (select sum(n.total)::bigint from n) as total
from wanted w cross join lateral (
  select d.* from sync.differences d where $where and d.cause = w.cause$after
  order by d.table_name, d.difference_id limit :most
) d
where w.before < :most
order by w.gravity, d.table_name, d.difference_id limit :most
""")

# Texts are searched once per row.
_COUNTED_PAGE = Template("""
/* enerflo-sync pages: differences of a filter, counted */
with d as materialized (
  select d.table_name, d.difference_id, $rank as gravity from sync.differences d where $where
), page as (
  select d.*, (select count(*) from d) as total from d where true$after
  order by gravity, d.table_name, d.difference_id limit :most
)
select d.*, p.gravity, p.total from page p join sync.differences d
  on d.account = :account and d.reconciliation_id = :reconciliation_id and d.table_name = p.table_name
  and d.difference_id = p.difference_id
order by p.gravity, d.table_name, d.difference_id
""")
_AFTER_ROW = f" and ({_RANK}, d.table_name, d.difference_id) > (:gravity, :after_table, :after_id)"
_AFTER = {
    _PAGE: _AFTER_ROW,
    _PAGE_BY_CAUSE: _AFTER_ROW,
    _COUNTED_PAGE: " and (d.gravity, d.table_name, d.difference_id) > (:gravity, :after_table, :after_id)",
}

# Personal values are not searched: otherwise a person could learn them by guessing.
_CONTAINS = Template("""(
  strpos(lower(d.key::text$bytes), lower(:q_in_json)) > 0
    and exists (select from jsonb_each_text(d.key) k where strpos(lower(k.value), lower(:q)) > 0
      and not (d.table_name || '.' || k.key) = any(:personal))
  or (strpos(lower((d.enerflo_value #>> '{}')$bytes), lower(:q)) > 0
      or strpos(lower((d.crm_value #>> '{}')$bytes), lower(:q)) > 0)
    and (d.table_name || '.' || d.field) = any(:open))""")
# ASCII letters are compared as bytes, which takes two thirds of the time.
_BYTES = ' collate "C"'


@dataclass(frozen=True)
class DifferenceFilter:
    """Which differences to show; None in an option means all.

    :param field: a CRM column, or ``(record)`` for records that one side lacks.
    :param age: the minimum age in days.
    :param q: text that the key, or a value without personal data, contains.
    :param run: the reconciliation; the newest one if None.
    :param after: the position after which the page begins: gravity, table and number of a difference.
    """

    table: str | None = None
    field: str | None = None
    cause: Cause | None = None
    hint: str | None = None
    age: int | None = None
    q: str | None = None
    run: str | None = None
    after: tuple[int, str, int] | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> DifferenceFilter:
        """Return the filter in an address.

        :raises ConfigurationError: a part of it is unreadable or unknown.
        """
        values: dict[str, Any] = {}
        for name in ("table", "field", "hint", "q", "run"):
            text = given.get(name, "").strip()
            if len(text) > _LONGEST:
                raise _unreadable(name, f"is longer than {_LONGEST} characters", "Shorten it.")
            values[name] = text.replace("\0", "") or None
        if values["hint"] is not None and values["hint"] not in HINT_TEXTS:
            raise _unreadable("hint", "is not known", f"Choose one of {', '.join(sorted(HINT_TEXTS))}.")
        cause, age, after = (given.get(name, "").strip() for name in ("cause", "age", "after"))
        if cause and cause not in CAUSES:
            raise _unreadable("cause", "is not known", f"Choose one of {', '.join(sorted(CAUSES))}.")
        if age and not (age.isascii() and age.isdigit() and len(age) < 5):
            raise _unreadable("age", "is no number of days", "Write whole days, as in age=7.")
        values["cause"] = Cause(cause) if cause else None
        values["age"] = int(age) if age else None
        values["after"] = _position(after) if after else None
        return cls(**values)

    @property
    def query(self) -> dict[str, str]:
        """Return the filter as address parameters, without the position."""
        parts = {name: getattr(self, name) for name in ("table", "field", "cause", "hint", "age", "q", "run")}
        return {name: str(value) for name, value in parts.items() if value is not None}

    @property
    def is_counted(self) -> bool:
        """Return whether the stored report has the number of matches."""
        return self.hint is None and self.age is None and self.q is None


def _position(text: str) -> tuple[int, str, int]:
    try:
        gravity, table, number = json.loads(text)
        if not 0 <= number < 2**63 or not 0 <= gravity < 100 or not isinstance(table, str):
            raise ValueError
        return int(gravity), table.replace("\0", ""), int(number)
    except (ValueError, TypeError, RecursionError):
        raise _unreadable("after", "is no position", "Begin at the first page.") from None


def _unreadable(name: str, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {what}.", where="the address", next_step=next_step)


@dataclass(frozen=True)
class DifferenceLine:
    """One difference of a record.

    :param field: the CRM column; None for the whole record.
    :param since: when a reconciliation first found the difference; None if unknown.
    """

    field: str | None
    cause: Cause
    hint: str | None
    pair: ShownPair
    since: datetime | None


@dataclass(frozen=True)
class RecordLines:
    """One record with its differences.

    :param key: its masked key, for people; :param bare_key: for its address, None if it is personal data.
    """

    table: str
    key: str
    bare_key: Mapping[str, Any] | None
    lines: Sequence[DifferenceLine]


@dataclass(frozen=True)
class DifferencesPage:
    """One page of differences.

    :param total: how many match.
    :param after: the position of the next page; None on the last one.
    """

    report: ReconciliationReport
    wanted: DifferenceFilter
    records: Sequence[RecordLines]
    total: int
    after: str | None
    now: datetime

    @property
    def shown(self) -> int:
        """Return how many differences the page shows."""
        return sum(len(record.lines) for record in self.records)


def read_differences_page(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    report: ReconciliationReport,
    wanted: DifferenceFilter,
) -> DifferencesPage:
    """Return one page of a reconciliation's differences, masked, the gravest causes first."""
    tables = config.tables_for(account)
    classes = personal_data_classes(tables)
    where, values = conditions_of(report, wanted, classes)
    statement = _COUNTED_PAGE if wanted.q else _PAGE if wanted.is_counted else _PAGE_BY_CAUSE
    if wanted.after is not None:
        values |= dict(zip(("gravity", "after_table", "after_id"), wanted.after, strict=True))
    after = "" if wanted.after is None else _AFTER[statement]
    query = sa.text(statement.substitute(rank=_RANK, where=where, after=after))
    rows = connection.execute(query, values | {"most": PAGE + 1}).mappings().all()
    if not rows and wanted.after is not None:
        # No difference follows that position; an empty page would suggest that nothing differs.
        return read_differences_page(connection, config, account, report, replace(wanted, after=None))
    shown, more = rows[:PAGE], rows[PAGE:]
    last = shown[-1] if more else None
    return DifferencesPage(
        report=report,
        wanted=wanted,
        records=list(_records(shown, tables, classes)),
        total=_counted(report, wanted) if wanted.is_counted else rows[0]["total"] if rows else 0,
        after=None if last is None else json.dumps([last[name] for name in _POSITION]),
        now=transaction_time(connection),
    )


def conditions_of(
    report: ReconciliationReport,
    wanted: DifferenceFilter,
    classes: Classes,
) -> tuple[str, dict[str, Any]]:
    """Return the condition of the rows ``d``, and its values."""
    conditions = ["d.account = :account and d.reconciliation_id = :reconciliation_id"]
    values: dict[str, Any] = {
        "account": report.account,
        "reconciliation_id": report.reconciliation_id,
        "causes": [str(cause) for cause in CAUSE_ORDER],
    }
    for name, column in (("table", "table_name"), ("cause", "cause")):
        if getattr(wanted, name) is not None:
            conditions.append(f"d.{column} = :{name}")
            values[name] = str(getattr(wanted, name))
    if wanted.field is not None:
        conditions.append("d.field is null" if wanted.field == WHOLE else "d.field = :field")
        values |= {} if wanted.field == WHOLE else {"field": wanted.field}
    if wanted.age is not None:
        conditions.append("coalesce(d.since, :found_at) <= :at - :age")
        values |= {"at": report.started_at, "found_at": report.started_at, "age": timedelta(days=wanted.age)}
    if wanted.hint is not None:
        conditions.append("split_part(d.hint, ':', 1) = :hint")
        values["hint"] = wanted.hint
    if wanted.q is not None:
        conditions.append(_CONTAINS.substitute(bytes=_BYTES if wanted.q.isascii() else ""))
        in_json = json.dumps(wanted.q, ensure_ascii=False)[1:-1]
        values |= {"q": wanted.q, "q_in_json": in_json, "open": [], "personal": []}
        for (table, field), kind in classes.items():
            values["open" if kind is PersonalData.NONE else "personal"].append(f"{table}.{field}")
    return " and ".join(conditions), values


def _counted(report: ReconciliationReport, wanted: DifferenceFilter) -> int:
    """Return how many differences match, from the report's figures."""
    return sum(
        count
        for table in report.tables
        if wanted.table in (None, table.table_name)
        for line in field_lines(table)
        if wanted.field in (None, WHOLE if line.field is None else line.field)
        for cause, count in line.by_cause.items()
        if wanted.cause in (None, cause)
    )


def _records(
    rows: Sequence[sa.RowMapping], tables: Mapping[str, TableMapping], classes: Classes
) -> Iterator[RecordLines]:
    """Yield the page's records; all differences of one record follow each other."""
    by_record = groupby(rows, key=lambda row: (row["table_name"], json.dumps(row["key"], sort_keys=True)))
    for (table, _), found in by_record:
        several = list(found)
        key = several[0]["key"]
        columns = tables[table].key_columns if table in tables else ()
        hidden = masked_key(table, key, classes)
        yield RecordLines(
            table=table,
            key=key_values({name: hidden[name] for name in (*columns, *hidden) if name in hidden}),
            bare_key=key if hidden == key else None,
            lines=[_line(row, classes) for row in several],
        )


def _line(row: sa.RowMapping, classes: Classes) -> DifferenceLine:
    found, bare = (difference(dict(row), classes, reveal=reveal) for reveal in (False, True))
    return DifferenceLine(
        field=found.field,
        cause=found.cause,
        hint=found.hint and hint_label(found.hint),
        pair=shown_pair(found, bare),
        since=row["since"],
    )


def render_differences(page: DifferencesPage, tables: Mapping[str, TableMapping], frame: Frame) -> str:
    """Return the page."""
    account = page.report.account
    here = frame.to.of(Place.DIFFERENCES, account)
    return render_page(
        "differences.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        wanted=page.wanted,
        here=here,
        causes=causes_of(page.report),
        compared=compared_rows(page.report),
        tables=[table.table_name for table in page.report.tables],
        fields=_fields(page),
        hints=HINT_TEXTS,
        hint_label=hint_label,
        whole=WHOLE,
        ages=AGES,
        first=f"{here}?{urlencode(page.wanted.query)}",
        next=None if page.after is None else f"{here}?{urlencode(_next(page))}",
        record_of=lambda record: record_address(frame.to, account, tables, record.table, record.bare_key),
        downloads={
            f"Export {form.upper()}": f"{here}/export/{form}?{urlencode(_of_this_run(page).query)}"
            for form in ("xlsx", "csv")
        },
    )


def _next(page: DifferencesPage) -> dict[str, str]:
    return {**_of_this_run(page).query, "after": str(page.after)}


def _of_this_run(page: DifferencesPage) -> DifferenceFilter:
    # The links name the reconciliation, so that a newer one does not change the list meanwhile.
    return replace(page.wanted, run=page.report.reconciliation_id)


def _fields(page: DifferencesPage) -> dict[str, int]:
    """Return the fields that differ in the chosen table, each with its number of differences."""
    found: dict[str, int] = {}
    for table in page.report.tables:
        if page.wanted.table in (None, table.table_name):
            for line in field_lines(table):
                name = WHOLE if line.field is None else line.field
                found[name] = found.get(name, 0) + line.differences
    return found
