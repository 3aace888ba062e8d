"""A mapping without what the live table cannot store, so that other tables' plans still run."""

from __future__ import annotations

from collections.abc import Collection

from enerflo_sync.crm.mapping import Direction, Side, TableMapping

_WITHOUT_CRM = {Direction.BOTH: Direction.TO_ENERFLO, Direction.TO_CRM: Direction.NONE}


def as_writable(mapping: TableMapping, writable: Collection[str]) -> TableMapping:
    """Return the mapping that a plan can follow: nothing is written that the CRM's table cannot store.

    A generated column, or one that a view computes, is treated as in report mode. So is the whole table if it
    accepts no updates, or if the time of a row's last change cannot be set with them. Rows are inserted only
    if all their columns accept a value.

    :param writable: from :func:`enerflo_sync.crm.catalog.writable_columns`.
    """
    touched = mapping.updated_at
    if touched is not None and touched not in writable:
        writable = ()
    fields = {
        name: field
        if name in writable
        else field.model_copy(update={"direction": _WITHOUT_CRM.get(field.direction, field.direction)})
        for name, field in mapping.fields.items()
    }
    made_of = {*mapping.key_columns, *mapping.join_columns, *mapping.on_insert}
    changed: dict[str, object] = {"fields": fields}
    if not made_of <= set(writable):
        changed["create_in"] = _without_crm(mapping.create_in)
    if not writable:
        changed["delete_in"] = _without_crm(mapping.delete_in)
    return mapping.model_copy(update=changed)


def _without_crm(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    return tuple(side for side in sides if side is not Side.CRM)
