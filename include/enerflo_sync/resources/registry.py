"""Every kind of vendor record that a file of this room declares."""

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


# In the order of a poll.
ALL: tuple[Resource, ...] = tuple(
    sorted({one.name: one for one in _declared()}.values(), key=lambda one: (one.order, one.name))
)
BY_NAME = {one.name: one for one in ALL}
# By the subject of a direct read: the resource, and how it is read.
READS = {read.subject: (one, read) for one in ALL for read in one.reads}
# By table of the mirror: the resource whose stored versions contain its rows, and the part of the resource.
STORED = {str(part.table.name): (one, part) for one in ALL if one.versions is not None for part in one.parts}
# By kind, in the order of reports and plans: the resource and part that a CRM table can be ``of``.
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
# The resources that a poll reads if sync.yaml does not name any.
USUAL = tuple(one.name for one in ALL if one.by_default)
