"""When somebody else last changed a record on each side.

The time is the side's own, but never later than we saw the change, and never the time of our own write.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.fields import EITHER_SIDE
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import believed_change, difference_key
from enerflo_sync.reconcile.observation import seen_at
from enerflo_sync.reconcile.still_asked import still_asked
from enerflo_sync.warehouse import schema as tables

# By kind: the mirror's table and key of the record whose updated_at is the time of a change.
_RECORDS: Mapping[str, tuple[str, str]] = {
    RecordKind.INSTALLS: ("installs", "install_id"),
    RecordKind.MILESTONES: ("installs", "install_id"),
    RecordKind.LEADS: ("customers", "customer_id"),
}

# If our own write left the row's time, the last time that somebody else left counts instead; null if nobody
# else ever changed the row. A row cannot have changed after we first saw its present content. If its own time
# lies in the future, and it is not known when we first saw it, the result is -infinity.
_IN_CRM = Template("""(select case when others.at is not null
      then least(others.at, s.seen_at, %(now)s::timestamptz) end
    from (select $seen_at as seen_at offset 0) s cross join lateral (
      select case when o.changed_at = wc.left_at then wc.others_at
        when s.seen_at is not null or $believed is not null then o.changed_at else '-infinity' end as at
    ) others)""")
_LEFT_BY_OTHERS = """case when o.changed_at = wc.left_at then coalesce(wc.others_at, '-infinity')
        else o.changed_at end"""
_BROUGHT_ALONE = Template("""(o.changed_in_crm > $in_enerflo and o.changed_in_crm <= $seen_at
      and exists (select from enerflo.milestones m
        where m.account = %(account)s and m.install_id = o.owner and m.milestone_id = $milestone
          and m.observed_by = 'webhook' and m.observed_at > o.install_observed_at))""")
_IN_ENERFLO = Template("""least(
      case when $own_time = we.left_at and (o.observed_at <= we.left_seen_at or we.left_digest = $digest)
        then coalesce(we.others_at, '-infinity') else $own_time end,
      o.observed_at)""")
# A list may tell less of a record than a direct read, and addresses of files may change with each read.
_OF_READS = {"observed_at", "observed_by", "raw_hash", "content_hash", "detail_read_at", "absent_since"}

# Of a request whose record was not read back nobody knows which time it left. Then the record's time may be
# ours, or somebody's: somebody else changed it at ``since`` at least, and at ``until`` at most.
_MAYBE_OURS_SINCE = Template("""case when we.sent_others_at is not null then we.sent_others_at
        when $own_time = we.left_at then coalesce(we.others_at, '-infinity') end""")
_MAYBE_OURS_UNTIL = Template("""case when we.sent_others_at is not null then greatest($own_time, we.over_at)
        when $own_time = we.left_at then we.over_at end""")

_WRITES = Template("""
    left join sync.own_writes wc on wc.account = %(account)s and wc.side = 'crm' and wc.table_name = $table
      and wc.key = $key$of_enerflo""")
# Another table of sync.yaml may map the same CRM table, and our last write of the row may be of that table.
# The write is found by the time that it left on the row. If one transaction wrote for both tables, the
# earlier time of somebody else is the true one.
_WRITES_TO_TABLE = Template("""
    left join lateral (
      select w.left_at, w.others_at, w.over_at from sync.own_writes w
      where w.account = %(account)s and w.side = 'crm' and w.table_name in ($tables) and w.key = $key
        and w.left_at = o.changed_at
      order by w.others_at nulls first limit 1
    ) wc on true$of_enerflo""")
_WRITES_TO_ENERFLO = Template("""
    left join sync.own_writes we on we.account = %(account)s and we.side = 'enerflo'
      and we.table_name = '$mirror' and we.key = jsonb_build_object('$id', $value)""")


def times_record(kind: str) -> tuple[str, str] | None:
    """Return the mirror's table and key column of the record that carries the time of a kind's changes."""
    return _RECORDS.get(kind)


def record_digest(mirror: str) -> str:
    """Return the digest of what Enerflo says in a record ``e`` of the mirror, whatever read brought it.

    Columns that ``sync.yaml`` declares are left out: one that is declared later is no change at Enerflo.

    :param mirror: the mirror's table: one that carries the time of a kind's changes.
    """
    said = _said(tables.customers if mirror == "customers" else tables.installs, "e")
    if mirror == "installs":
        of_milestones = f"string_agg({_said(tables.milestones, 'm')}, '' order by m.milestone_id)"
        said += (
            f" || coalesce((select {of_milestones} from enerflo.milestones m"  # noqa: S608 - constants
            " where m.account = e.account and m.install_id = e.install_id), '')"
        )
    return f"md5({said})"


def _said(table: sa.Table, alias: str) -> str:
    names = [column.name for column in table.c if column.name not in _OF_READS]
    return f"jsonb_build_array({', '.join(f'{alias}.{name}' for name in names)})::text"


def needs_own_times(comparison: Comparison) -> bool:
    """Return whether this table, or a sibling, needs the times that our own writes leave on rows."""
    siblings = any(sibling.keeps_times for sibling in comparison.siblings.values())
    return comparison.updated_at is not None and (keeps_times(comparison) or siblings)


def keeps_times(comparison: Comparison) -> bool:
    """Return whether pairs of the table are stored with the times of both sides' records."""
    return comparison.updated_at is not None and comparison.mapping.has_policy(*EITHER_SIDE)


def own_writes(comparison: Comparison) -> str:
    """Return the joins with the times that our own writes left on row ``o``; empty if unused."""
    if not keeps_times(comparison):
        return ""
    of_enerflo, record = "", times_record(comparison.kind)
    if record is not None:
        of_enerflo = _WRITES_TO_ENERFLO.substitute(
            mirror=record[0], id=record[1], value=_record_id(comparison)
        )
    writes = _WRITES_TO_TABLE if comparison.siblings else _WRITES
    return writes.substitute(
        table=literal(comparison.name),
        tables=comparison.names_of_table,
        key=difference_key(comparison),
        of_enerflo=of_enerflo,
    )


def _record_id(comparison: Comparison) -> str:
    return "o.owner" if comparison.kind == RecordKind.MILESTONES else "o.p1"


def changed_in_crm(comparison: Comparison) -> str:
    """Return when somebody else last changed the CRM's row ``o``: null if nobody, -infinity if unknown."""
    if not comparison.goes_by_time:
        return believed_change("o")
    return _IN_CRM.substitute(believed=f"({believed_change('o')})", seen_at=seen_at(comparison, "o"))


def left_by_others(comparison: Comparison) -> str:
    """Return the time that somebody else last left on the CRM's row ``o``: -infinity if nobody else did."""
    if not keeps_times(comparison):
        return "null::timestamptz"
    return _LEFT_BY_OTHERS


def written_over_at(comparison: Comparison) -> str:
    """Return the time of the CRM's row ``o`` just before our write; null if the last write is not ours."""
    if not keeps_times(comparison):
        return "null::timestamptz"
    return "case when o.changed_at = wc.left_at then nullif(wc.over_at, '-infinity') end"


def is_time_unsure(comparison: Comparison, in_enerflo: str) -> str:
    """Return the condition that the CRM's time does not tell whether its row changed after Enerflo's record.

    A row may have changed at any moment if it has no time, if its time lies in the future, or if we wrote it
    and did not read it back (:func:`enerflo_sync.agreed.own_writes.note_unseen`). A day does not tell the
    hour. A time without a zone occurs twice when clocks go back, and is read as the second one.

    Nor does it tell that if Enerflo's time may come from our own request, which was sent and not read back.

    A milestone that a webhook brought alone, after its install was read, may have changed at any moment until
    that webhook came. The next poll brings the install's time.

    :param in_enerflo: SQL of the time at which Enerflo's record changed.
    """
    if not comparison.goes_by_time:
        return "false"
    unsure = unsure_time(comparison, in_enerflo, "o.left_by_others")
    if times_record(comparison.kind) is not None:
        between = "o.changed_in_crm > o.maybe_ours_since and o.changed_in_crm <= o.maybe_ours_until"
        unsure = f"({unsure} or coalesce({between} and o.changed_in_crm <= f.seen_at, false))"
    if comparison.kind != RecordKind.MILESTONES:
        return unsure
    milestone = "f.milestone"
    if not comparison.is_wide:
        milestone = f"o.p{comparison.mirror_key.index('milestone_id') + 1}"
    alone = _BROUGHT_ALONE.substitute(in_enerflo=in_enerflo, milestone=milestone, seen_at="f.seen_at")
    return f"({unsure} or coalesce({alone}, false))"


def unsure_time(comparison: Comparison, in_enerflo: str, in_crm: str = "o.changed_at") -> str:
    """Return the condition of :func:`is_time_unsure`, also where no field goes by time.

    :param in_crm: SQL of the time that somebody left on the CRM's row.
    """
    if comparison.updated_at is None:
        return "false"
    zone = literal(comparison.mapping.time_zone)
    unknown = "coalesce(o.changed_at, '-infinity') = '-infinity' or o.changed_in_crm = '-infinity'"
    match comparison.live.columns[comparison.updated_at].kind:
        case Kind.DATE:
            until = f"((({in_crm} at time zone {zone}) + interval '1 day') at time zone {zone})"
            unsure = f"{in_enerflo} >= {in_crm} and {in_enerflo} < {until}"
        case Kind.TIMESTAMP:
            before = " or ".join(
                f"({in_crm} - {back}) at time zone {zone} = {in_crm} at time zone {zone}"
                f" and {in_enerflo} >= {in_crm} - {back}"
                for back in ("interval '1 hour'", "interval '30 minutes'")
            )
            unsure = f"{in_enerflo} < {in_crm} and ({before})"
        case _:
            unsure = "false"
    return f"(coalesce({unknown}, false) or coalesce({unsure}, false))"


def left_its_time(comparison: Comparison) -> str:
    """Return the condition that a side's time is no later than when it had the value of the pair ``a``.

    If that side's value differs from the pair now, its time does not tell when somebody edited the value. The
    edit left the time unchanged, or set it back, for example an import that keeps the times of its source.
    Our own later write of another column moved the row's time, and tells as little.
    """
    if not comparison.goes_by_time:
        return "false"
    return "coalesce(o.left_by_others <= a.crm_time or o.record_time <= a.enerflo_time, false)"


def is_older(comparison: Comparison) -> tuple[str, str]:
    """Return, for the CRM and for Enerflo, the condition that a side's time was later in the pair ``a``.

    Such a side may show an older state again, as a table that is restored from a backup. Then its value is no
    edit, and the other side's later value must not be lost to it. Nor does our own write of another column,
    which gives the row a new time, make an edit of it.
    """
    if not keeps_times(comparison):
        return "false", "false"
    # A row without a time tells nothing.
    in_crm = "coalesce(nullif(o.changed_at, '-infinity') < a.crm_time, false)"
    # Our write came upon the older row before any plan saw it, or after a plan asked about it.
    over = "coalesce(o.written_over_at < a.crm_time and a.crm_time < o.changed_at, false)"
    own = "o.changed_at is distinct from o.left_by_others"
    in_crm = f"({in_crm} or {over} or {own} and {still_asked(comparison, 'older_row')})"
    return in_crm, "coalesce(o.record_time < a.enerflo_time, false)"


def changed_in_enerflo(comparison: Comparison) -> str:
    """Return when somebody else last changed Enerflo's record of ``o``.

    A milestone has no time of its own: it changed no later than its install ``i``, and no later than we saw
    it.
    """
    if not comparison.goes_by_time or times_record(comparison.kind) is None:
        return "o.said_at"
    mirror, name = _RECORDS[comparison.kind]
    return _IN_ENERFLO.substitute(
        own_time=record_time(comparison, "o.own_time", "i.install_updated_at"),
        digest=f"(select {record_digest(mirror)} from enerflo.{mirror} e"  # noqa: S608 - constants
        f" where e.account = %(account)s and e.{name} = {_record_id(comparison)})",
    )


def maybe_ours(comparison: Comparison) -> tuple[str, str]:
    """Return since and until when somebody else changed Enerflo's record ``o``, if its time may be ours."""
    if not comparison.goes_by_time or times_record(comparison.kind) is None:
        return "null::timestamptz", "null::timestamptz"
    own_time = record_time(comparison, "o.own_time", "i.install_updated_at")
    return _MAYBE_OURS_SINCE.substitute(own_time=own_time), _MAYBE_OURS_UNTIL.substitute(own_time=own_time)


def record_time(comparison: Comparison, own: str, of_install: str) -> str:
    """Return the time of Enerflo's record, as it tells it; null if it has none, or if no field needs it.

    :param own: SQL of the record's own time.
    :param of_install: SQL of the time of its install, which is the time of a milestone.
    """
    if not keeps_times(comparison) or times_record(comparison.kind) is None:
        return "null::timestamptz"
    return of_install if comparison.kind == RecordKind.MILESTONES else own
