"""A mapping without what the live table cannot take, so that one view stops no plan of other tables."""

from __future__ import annotations

from collections.abc import Collection

from enerflo_sync.crm.mapping import Direction, Side, TableMapping

_WITHOUT_CRM = {Direction.BOTH: Direction.TO_ENERFLO, Direction.TO_CRM: Direction.NONE}


def as_writable(mapping: TableMapping, writable: Collection[str]) -> TableMapping:
    """Return the mapping as a plan may follow it: what the CRM's table cannot take is not written there.

    A column that a view works out, or that is generated, is left as in report mode. So is the whole table
    where it takes no updates, or where the time of the row's last change cannot be set with them. New rows
    are made only where all their columns can be given a value.

    :param writable: as :func:`enerflo_sync.crm.catalog.writable_columns` returns them.
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
