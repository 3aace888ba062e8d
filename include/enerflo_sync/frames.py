"""What the warehouse knows, as typed pandas tables: for notebooks and analysts (the extra ``pandas``).

.. code-block:: python

    from enerflo_sync import frames

    account = frames.open_account()
    found = frames.differences(account)
    found.groupby(["table_name", "field", "cause"], dropna=False).size()

Each function returns one ``DataFrame``. With ``chunk_rows`` it yields DataFrames of at most so many rows,
and holds no more than one of them in memory. Texts are ``string``, whole numbers ``Int64``, yes and no
``boolean``, times ``datetime64[us, UTC]``. Amounts are ``Decimal``, and values of fields are as JSON has
them: columns of type ``object``.

Personal data is masked, as in every output. ``reveal="Your Name"`` shows it, and notes in ``sync.reveals``
that this name asked for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.reveal import note_reveal
from enerflo_sync.explain.text import story_sentences
from enerflo_sync.extras import needs_extra
from enerflo_sync.jobs import context as contexts
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import read_stored_plan
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.plan.reads import read_changes, read_plans
from enerflo_sync.plan.render.shown_plan import masked_changes
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.store import (
    load_report,
    masked_key,
    masked_record,
    personal_data_classes,
    read_differences,
)
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated
from enerflo_sync.warehouse.schema import installs as installs_table
from enerflo_sync.warehouse.schema import ledger as ledger_table
from enerflo_sync.warehouse.schema import personal_data_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["differences", "explain", "installs", "ledger", "open_account", "plan"]

_TEXT, _WHOLE, _YES_NO, _TIME, _AS_IT_IS = "string", "Int64", "boolean", "datetime64[us, UTC]", "object"
_CHUNK = 50_000

Row = Sequence[Any]
# One DataFrame, or with ``chunk_rows`` an iterator of them: pandas, too, has one function for both.
Frames = Any


def open_account(account: str = "default", config: Path | str | None = None) -> AccountContext:
    """Return an account of ``sync.yaml``, with the credentials of the environment, as the command line does.

    :param config: another file than the one that the command line would take.
    :raises ConfigurationError: the file cannot be read, or names no such account.
    """
    return contexts.open_account(account, os.environ, None if config is None else Path(config))


def differences(
    account: AccountContext,
    reconciliation_id: str | None = None,
    *,
    table: str | None = None,
    cause: str | None = None,
    reveal: str = "",
    chunk_rows: int | None = None,
) -> Frames:
    """Return a reconciliation's differences, one row each; those of the newest where no id is given.

    A row whose ``field`` is missing is a record that one side lacks. ``key`` and the two values are as JSON
    has them.

    :raises ConfigurationError: there is no such reconciliation, or none yet; no such cause.
    """
    _ready(account)
    report = load_report(account.engine, account.account, reconciliation_id)
    found = read_differences(
        account.engine,
        account.config,
        account.account,
        report.reconciliation_id,
        table_name=table,
        cause=None if cause is None else _cause(cause),
        reveal=_revealed(account, reveal, f"differences of {report.reconciliation_id}"),
    )
    columns = {
        **{"reconciliation_id": _TEXT, "table_name": _TEXT, "key": _AS_IT_IS, "field": _TEXT},
        **{"enerflo_value": _AS_IT_IS, "crm_value": _AS_IT_IS, "cause": _TEXT, "masked": _YES_NO},
        "hint": _TEXT,
    }
    rows = (
        (
            *(report.reconciliation_id, one.table_name, one.key, one.field),
            *(one.enerflo_value, one.crm_value, str(one.cause), one.masked, one.hint),
        )
        for one in found
    )
    return _frames(columns, rows, chunk_rows)


def ledger(
    account: AccountContext,
    *,
    since: datetime | None = None,
    table: str | None = None,
    decision: str | None = None,
    reveal: str = "",
    chunk_rows: int | None = None,
) -> Frames:
    """Return the ledger, one row for each decision about a field, in the order of the decisions.

    :param since: only what was recorded then or later.
    :param decision: applied, handed_over, moved, refused, parked, held, released or superseded.
    """
    _ready(account)
    shows = _revealed(account, reveal, "ledger")
    t = ledger_table.c
    values = (t.old_value, t.new_value, t.losing_value, t.kept_value)
    texts = (t.direction, t.decision, t.reason, t.decided_by, t.policy, t.rule, t.cause, t.plan_hash)
    times = (t.changed_at, t.observed_at, t.recorded_at)
    head = (t.ledger_id, t.table_name, t.key, t.op, t.field)
    query = sa.select(*head, *values, *texts, *times).where(t.account == account.account)
    for column, wanted in ((t.table_name, table), (t.decision, decision)):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(t.recorded_at >= since)
    classes = personal_data_classes(account.config.tables_for(account.account))
    value_names = {column.name for column in values}

    def masked(row: sa.Row[Any]) -> Row:
        name, field = row.table_name, row.field
        kind = classes.get((name, field), PersonalData.FREE_TEXT) if field is not None else None
        return [
            masked_key(name, value, classes)
            if column == "key"
            else value
            if column not in value_names
            else masked_record(name, value, classes)
            if kind is None
            else mask(value, kind)
            for column, value in row._mapping.items()
        ]

    found = _streamed(account, query.order_by(t.ledger_id))
    columns = {
        "ledger_id": _WHOLE,
        **dict.fromkeys(("table_name",), _TEXT),
        "key": _AS_IT_IS,
        **dict.fromkeys(("op", "field"), _TEXT),
        **{column.name: _AS_IT_IS for column in values},
        **{column.name: _TEXT for column in texts},
        **{column.name: _TIME for column in times},
    }
    return _frames(columns, found if shows else map(masked, found), chunk_rows)


def plan(
    account: AccountContext,
    plan_hash: str | None = None,
    *,
    reveal: str = "",
    chunk_rows: int | None = None,
) -> Frames:
    """Return a plan's changes in its order, one row for each field; of the newest where no hash is given.

    :param plan_hash: or at least eight characters of it.
    :raises ConfigurationError: there is no such plan, or none yet.
    """
    _ready(account)
    found = read_stored_plan(account, plan_hash or _newest_plan(account)).plan_hash
    shows = _revealed(account, reveal, f"plan/{found}")

    def rows() -> Iterator[Row]:
        with warehouse_errors("a look at a plan"), account.engine.connect() as connection:
            changes = read_changes(connection, account.account, found)
            tables = account.config.tables_for(account.account)
            for one in changes if shows else masked_changes(changes, tables):
                yield [found, *(getattr(one, name) for name in columns if name != "plan_hash")]

    columns = {
        **dict.fromkeys(("plan_hash", "table_name"), _TEXT),
        "key": _AS_IT_IS,
        **dict.fromkeys(("op", "field"), _TEXT),
        **dict.fromkeys(("before", "after"), _AS_IT_IS),
        **dict.fromkeys(("direction", "policy", "cause", "rule", "state"), _TEXT),
    }
    return _frames(columns, rows(), chunk_rows)


def installs(
    account: AccountContext, *, deleted: bool = False, reveal: str = "", chunk_rows: int | None = None
) -> Frames:
    """Return the installs of the mirror by id, with every column that the mirror has of them.

    :param deleted: those too that Enerflo does not have any more.
    """
    _ready(account)
    shows = _revealed(account, reveal, "installs")
    hidden = {"account", "raw_hash", "content_hash"}
    chosen = [column for column in installs_table.c if column.name not in hidden]
    query = sa.select(*chosen).where(installs_table.c.account == account.account)
    if not deleted:
        query = query.where(installs_table.c.deleted_at.is_(None))
    found = _streamed(account, query.order_by(installs_table.c.install_id))
    kinds = personal_data_of("installs")

    def masked(row: sa.Row[Any]) -> Row:
        return [mask(value, kinds.get(name, PersonalData.NONE)) for name, value in row._mapping.items()]

    columns = {column.name: _type_of(column.type) for column in chosen}
    return _frames(columns, found if shows else map(masked, found), chunk_rows)


def explain(
    account: AccountContext, table: str, key: str, *, field: str | None = None, reveal: str = ""
) -> pd.DataFrame:
    """Return why a record's fields have their values: one row for each sentence, by field.

    :param table: in the singular, as ``enerflo-sync explain`` takes it: ``install``.
    :raises ConfigurationError: no such table or field, or a record that was never heard of.
    """
    found = run_explain(account, table, key, field=field, reveal=bool(reveal), by=reveal)
    rows = (
        (found.table, story.field, sentence) for story in found.fields for sentence in story_sentences(story)
    )
    return _frame({"table_name": _TEXT, "field": _TEXT, "sentence": _TEXT}, list(rows))


# -- inside -----------------------------------------------------------------------------------------------


def _ready(account: AccountContext) -> None:
    _pandas()
    require_migrated(account.engine, reads_only=True)


def _pandas() -> Any:
    with needs_extra("pandas", "pandas", "enerflo_sync.frames"):
        import pandas as pd
    return pd


def _cause(name: str) -> Cause:
    try:
        return Cause(name)
    except ValueError:
        known = ", ".join(map(str, Cause))
        raise ConfigurationError(
            f"there is no cause {name}.", where="cause", next_step=f"One of: {known}."
        ) from None


def _revealed(account: AccountContext, by: str, what: str) -> bool:
    """Note that somebody has personal data shown; return whether it is."""
    if by:
        with warehouse_errors("a look at personal data"), account.engine.begin() as connection:
            note_reveal(connection, account.account, what, by, account.clock.now())
    return bool(by)


def _newest_plan(account: AccountContext) -> str:
    with warehouse_errors("a look at plans"), account.engine.connect() as connection:
        newest = read_plans(connection, account.account, most=1)
    if not newest:
        raise ConfigurationError(
            "there is no plan yet.",
            where=f"sync.plans, account {account.account}",
            next_step="Run enerflo-sync plan first.",
        )
    return newest[0].plan_hash


def _streamed(account: AccountContext, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
    with warehouse_errors("a look at the warehouse"), account.engine.connect() as connection:
        options = {"stream_results": True, "max_row_buffer": 1000}
        yield from connection.execute(query, execution_options=options)


def _type_of(column: sa.types.TypeEngine[Any]) -> str:
    match column:
        case sa.Boolean():
            return _YES_NO
        case sa.Integer():
            return _WHOLE
        case sa.DateTime():
            return _TIME
        case sa.Text():
            return _TEXT
    return _AS_IT_IS


def _frames(columns: Mapping[str, str], rows: Iterable[Row], chunk_rows: int | None) -> Frames:
    if chunk_rows is not None:
        if chunk_rows < 1:
            raise ConfigurationError(
                f"{chunk_rows} rows are no chunk.", where="chunk_rows", next_step="Take 1 or more."
            )
        return _chunks(columns, iter(rows), chunk_rows)
    # In parts, so that the rows and the finished table are not in memory at once.
    parts = list(_chunks(columns, iter(rows), _CHUNK))
    return parts[0] if len(parts) == 1 else _pandas().concat(parts, ignore_index=True)


def _chunks(columns: Mapping[str, str], rows: Iterator[Row], size: int) -> Iterator[pd.DataFrame]:
    """Yield the rows in tables of one size; one empty table where there are none."""
    part = list(islice(rows, size))
    while True:
        yield _frame(columns, part)
        if not (part := list(islice(rows, size))):
            return


def _frame(columns: Mapping[str, str], rows: list[Row]) -> pd.DataFrame:
    pandas = _pandas()
    by_column = zip(*rows, strict=True) if rows else ([] for _ in columns)
    found: pd.DataFrame = pandas.DataFrame(
        {
            name: pandas.Series(list(values), dtype=dtype)
            for (name, dtype), values in zip(columns.items(), by_column, strict=True)
        }
    )
    return found
