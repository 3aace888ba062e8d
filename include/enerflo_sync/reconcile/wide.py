"""Milestones of an install as columns of one row: the mirror's side of a wide table.

For each column the mirror's side has ``e1`` (the value), ``mi1`` (the milestone's id), ``mc1`` (how many
living milestones of the install have the title) and ``mo1`` (when the milestone's content was first seen). If
several milestones have the title, value and id are null, so that no milestone is chosen by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import TYPE_CHECKING

from enerflo_sync.crm.mapping import WideColumn
from enerflo_sync.crm.names import quoted
from enerflo_sync.crm.wide import is_milestone
from enerflo_sync.warehouse.schema import metadata

if TYPE_CHECKING:
    from enerflo_sync.reconcile.values import Field

# The further columns of each field, in the mirror's side and in ``mismatched``.
OF_MILESTONE = ("mi", "mc", "mo")

_ALL = Template("""(
      select $columns, max(greatest(m.observed_at, m.deleted_at)) filter (where $mapped) as observed_at
      from enerflo.milestones m where m.account = $install.account and m.install_id = $install.install_id)""")

_FIELD = Template("""case when count(*) filter (where $which) = 1
        then (array_agg(m.$column) filter (where $which))[1] end as e$n,
      case when count(*) filter (where $which) = 1
        then min(m.milestone_id) filter (where $which) end as mi$n,
      count(*) filter (where $which) as mc$n,
      max(greatest(m.observed_at, m.deleted_at)) filter (where $named) as mo$n""")

# Each value is a column of its own, so that PostgreSQL does not look up values that a statement does not use.
_INSTALLS = Template("""(
    select $own, $columns,
      greatest(i.observed_at, (
        select max(greatest(m.observed_at, m.deleted_at)) from enerflo.milestones m
        where m.account = i.account and m.install_id = i.install_id and ($mapped))) as observed_at
    from enerflo.installs i)""")
_VALUE = Template("""(
        select case when count(*) = 1 then (array_agg(m.$column))[1] end from enerflo.milestones m
        where m.account = i.account and m.install_id = i.install_id and m.deleted_at is null and $named)
      as w$n""")

_MOVED = Template("""$install.install_id in (
      select e.install_id from enerflo.installs e where e.account = %(account)s and ($moved)
      union all select e.install_id from enerflo.milestones e where e.account = %(account)s and ($moved))""")


def install_rows(fields: Sequence[Field]) -> str:
    """Return the installs as a relation with ``w1…``, each field's value; null if several milestones fit."""
    columns = metadata.tables["enerflo.installs"].columns.keys()
    return _INSTALLS.substitute(
        own=", ".join(f"i.{name}" for name in columns if name != "observed_at"),
        columns=", ".join(
            _VALUE.substitute(column=quoted(one.enerflo), named=is_milestone(one.milestone, "m"), n=n)
            for n, one in enumerate(_columns(fields), 1)
        ),
        mapped=_mapped(fields),
    )


def milestones_of(fields: Sequence[Field], install: str) -> str:
    """Return the select of one row with what an install's milestones hold for all fields."""
    parts = []
    for n, one in enumerate(_columns(fields), 1):
        named = is_milestone(one.milestone, "m")
        which = f"m.deleted_at is null and {named}"
        parts.append(_FIELD.substitute(column=quoted(one.enerflo), which=which, named=named, n=n))
    return _ALL.substitute(columns=",\n      ".join(parts), mapped=_mapped(fields), install=install)


def observed_at(milestones: str, install: str) -> str:
    """Return when a row's content was first seen: its mapped milestones', or the install's if it has none."""
    return f"coalesce({milestones}.observed_at, {install}.observed_at)"


def install_moved(install: str, moved: str) -> str:
    """Return the condition that an install or one of its milestones changed, written for the indexes of both.

    :param moved: the condition that one row ``e`` changed.
    """
    return _MOVED.substitute(install=install, moved=moved)


def ambiguous(n: int) -> str:
    """Return the condition that several milestones of the install have the title of the field ``n``."""
    return f"coalesce(mc{n} > 1, false)"


def facts_of_milestone(n: int, equal: str) -> dict[str, str]:
    """Return the facts of the milestone of the field ``n`` in a mismatched row ``o``.

    :param equal: whether the field is equal as declared. If both sides have no value, no milestone is
        missing.
    """
    return {
        "milestone_twice": f"(o.mc{n} > 1)",
        "milestone_missing": f"(o.mc{n} = 0 and not {equal})",
        "milestone": f"o.mi{n}",
        "seen_at": f"coalesce(o.mo{n}, o.observed_at)",
    }


def _columns(fields: Sequence[Field]) -> list[WideColumn]:
    return [field.mapping for field in fields if isinstance(field.mapping, WideColumn)]


def _mapped(fields: Sequence[Field]) -> str:
    wanted = dict.fromkeys(is_milestone(one.milestone, "m") for one in _columns(fields))
    return " or ".join(wanted)
