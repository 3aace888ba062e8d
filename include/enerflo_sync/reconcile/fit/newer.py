"""The hint of last resort for an unexplained difference: which side's record changed later."""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.changed import unsure_time
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import believed_change
from enerflo_sync.reconcile.fit.hints import Hint

_NEWER = Template("""case when $unsure then null
             when $in_crm > $in_enerflo then $newer_in_crm
             when o.own_time is not null and $in_crm < $in_enerflo then $newer_in_enerflo end""")


def newer_hint(comparison: Comparison) -> str:
    """Return the SQL of the hint that one side's record is newer; null if their times do not show which.

    A record without a time from Enerflo changed no later than we first saw it. So the hint may call it the
    older record, but never the newer one. The statement needs the parameters of
    :func:`enerflo_sync.reconcile.conditions.cause_parameters`.
    """
    if comparison.updated_at is None:
        return "null::text"
    # In a wide table each field has its own milestone, and so its own time of observation.
    in_enerflo = "least(o.said_at, f.seen_at)" if comparison.is_wide else "o.said_at"
    return _NEWER.substitute(
        unsure=unsure_time(comparison, in_enerflo),
        in_crm=f"({believed_change('o')})",
        in_enerflo=in_enerflo,
        newer_in_crm=literal(Hint.NEWER_IN_CRM),
        newer_in_enerflo=literal(Hint.NEWER_IN_ENERFLO),
    )
