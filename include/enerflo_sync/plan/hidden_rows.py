"""Records without a CRM row that we see: what a plan says of them where policies or a view may hide rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.live.behind_view import BehindView, behind_view
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison

_GONE = "it was deleted from the CRM since both agreed"
GONE_OR_HIDDEN = f"{_GONE}, or row-level security hides its row from our role (see enerflo-sync doctor)"
GONE_FROM_VIEW = f"{_GONE}, or the CRM's view does not show its row any more"
MAY_BE_HIDDEN = (
    "row-level security of the CRM's table may hide its row, and no unique index on the key would refuse a"
    " second one (see enerflo-sync doctor)"
)
# Fewer rows may be a person's first tries in a new table.
_ENOUGH_ROWS = 10
NO_KEY_MEETS = (
    "no row of the CRM's table has the key of any record, so that its row may stand there under another key:"
    " compare the key in sync.yaml with the column's values (enerflo-sync doctor), or leave rows of another"
    " kind out with where"
)
HIDDEN_BY_VIEW = (
    "a table behind the CRM's view has a row of its key, which the view does not show: let the view show the"
    " row, or map the table with where"
)
MAY_BE_BEHIND_VIEW = (
    "the CRM's view may hide its row, and the tables behind the view could not be searched for it by the key:"
    " let our role read them, let the view call the key as the table does, or map the table with where"
)


def where_unseen(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]
) -> dict[str, str]:
    """Return the parts of the statement about records without a row that depend on hidden rows.

    ``gone`` is the question about a record on which both sides agreed. ``may_be_hidden`` is the branch of a
    ``case`` that asks about any other record instead of making a row. A unique index on the columns that name
    the record counts hidden rows as well, so that the table itself refuses a second row.

    :param values: the parameters of the plan's statements.
    """
    hides = comparison.live.hides_rows
    branches = {"true": MAY_BE_HIDDEN} if hides and not comparison.crm_unique else {}
    columns = {join.crm_name for join in comparison.joins}
    # A copy's rows are made by a tool, and a view of them takes no row of ours.
    behind = None if comparison.hands_over else behind_view(connection, comparison.live, columns)
    if behind is not None:
        branches |= {_in_table(comparison, table): HIDDEN_BY_VIEW for table in behind.tables}
        branches |= {} if behind.is_known else {"true": MAY_BE_BEHIND_VIEW}
    if not _any_key_meets(connection, comparison, values):
        branches["true"] = NO_KEY_MEETS
    return {
        "gone": literal(_gone(hides=hides, behind=behind)),
        "may_be_hidden": "".join(
            f"\n      when {condition} then {literal(reason)}" for condition, reason in branches.items()
        ),
    }


def _any_key_meets(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> bool:
    """Return whether a CRM row has the key of a record of any account, or too few rows have a key to tell."""
    same = " and ".join(
        f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
    )
    rows = f"{comparison.crm_rows} t"
    statement = f"""
/* enerflo-sync plan {comparison.name}: whether any key of the CRM is one of Enerflo's */
select exists (select from {rows} join {comparison.mirror} e on {same})
  or (select count(*) < {_ENOUGH_ROWS} from (
        select from {rows} where {_filled(comparison)} limit {_ENOUGH_ROWS}) few)
"""  # noqa: S608 - quoted names
    return bool(connection.exec_driver_sql(statement, dict(values)).scalar())


def _filled(comparison: Comparison) -> str:
    """Return the condition that a CRM row's columns of the key hold anything, readable as a key or not."""
    return " and ".join(f"t.{quoted(join.crm_name)} is not null" for join in comparison.joins)


def _gone(*, hides: bool, behind: BehindView | None) -> str:
    if hides:
        return GONE_OR_HIDDEN
    return _GONE if behind is None else GONE_FROM_VIEW


def _in_table(comparison: Comparison, table: str) -> str:
    """Return the condition that a table behind the view has a row for the join key of a record ``o``."""
    same = " and ".join(
        f"({join.of_crm(f'b.{quoted(join.crm_name)}')})::{join.type} = o.j{n}"
        for n, join in enumerate(comparison.joins, 1)
    )
    return f"exists (select from {table} b where {same})"
