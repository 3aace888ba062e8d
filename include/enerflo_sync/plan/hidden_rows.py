"""Records without a CRM row that our role sees: what a plan says of them where policies may hide rows."""

from __future__ import annotations

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

_GONE = "it was deleted from the CRM since both agreed"
GONE_OR_HIDDEN = f"{_GONE}, or row-level security hides its row from our role (see enerflo-sync doctor)"
MAY_BE_HIDDEN = (
    "row-level security of the CRM's table may hide its row, and no unique index on the key would refuse a"
    " second one (see enerflo-sync doctor)"
)


def where_unseen(comparison: Comparison) -> dict[str, str]:
    """Return the parts of the statement about records without a row that depend on hidden rows.

    ``gone`` is the question about a record on which both sides agreed. ``may_be_hidden`` is the branch of a
    ``case`` that asks about any other record instead of making a row. A unique index on the columns that name
    the record counts hidden rows as well, so that the table itself refuses a second row.
    """
    hides = comparison.live.hides_rows
    asks = hides and not comparison.crm_unique
    return {
        "gone": literal(GONE_OR_HIDDEN if hides else _GONE),
        "may_be_hidden": f"\n      when true then {literal(MAY_BE_HIDDEN)}" if asks else "",
    }
