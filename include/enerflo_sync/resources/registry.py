"""Every kind of vendor record: whatever file of this room declares one."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from enerflo_sync import resources
from enerflo_sync.resources.resource import Part, Resource


def _declared() -> Iterator[Resource]:
    for module in pkgutil.iter_modules(resources.__path__, f"{resources.__name__}."):
        if module.name != __name__:
            yield from (one for one in vars(import_module(module.name)).values() if isinstance(one, Resource))


# In the order in which a poll reads them.
ALL: tuple[Resource, ...] = tuple(
    sorted({one.name: one for one in _declared()}.values(), key=lambda one: (one.order, one.name))
)
BY_NAME = {one.name: one for one in ALL}
# By the subject of a direct read: what it reads, and how.
READS = {read.subject: (one, read) for one in ALL for read in one.reads}
# By a table of the mirror: the resource whose stored versions tell its rows, and what part of it they are.
STORED = {str(part.table.name): (one, part) for one in ALL if one.versions is not None for part in one.parts}
# By kind, in the order of reports and plans: the resource and the part of it that a CRM's table can be of.
KINDS: dict[str, tuple[Resource, Part]] = {
    kind: (one, part)
    for _, kind, one, part in sorted(
        (
            (part.crm_order, part.crm_table, one, part)
            for one in ALL
            for part in one.parts
            if part.crm_table is not None
        ),
        key=lambda found: found[:2],
    )
}
# What a poll reads where sync.yaml does not say.
USUAL = tuple(one.name for one in ALL if one.by_default)
