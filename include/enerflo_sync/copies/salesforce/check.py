"""Checks whether the mapping fits the object at Salesforce as our user sees it; reads only."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.copies.salesforce.api import ObjectInfo
from enerflo_sync.copies.salesforce.spelling import is_written
from enerflo_sync.crm.mapping import Direction, Mode, Side, SourceOfTruth, TableMapping
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.problems import listed, nearest
from enerflo_sync.crm.salesforce import SalesforceObject

_RIGHT = "Give it the right (Setup, permission sets), or let the field's direction leave it out."


def object_notices(mapping: TableMapping, mode: Mode, info: ObjectInfo) -> Iterator[Notice]:
    """Yield what would prevent us from carrying a table's changes to an object."""
    to = mapping.to_salesforce
    if to is None:
        return
    writes = "to_crm" in mode.writes
    if writes and not info.updateable:
        found = f"{info.name}, whose records our user may not change"
        yield Notice("error", ("salesforce", "object"), found, "the right to edit them", _RIGHT)
    yield from _links(mapping, to, info)
    yield from _fields(mapping, to, info, writes=writes)
    if writes and Side.CRM in mapping.create_in:
        yield from _new_records(mapping, to, info)
    if writes and Side.CRM in mapping.delete_in and not (to.delete and info.deletable):
        found = f"crm, and records of {info.name} that are not deleted there"
        step = (
            "Set salesforce: {delete: true} and give the user the right, or each such record waits for you."
        )
        yield Notice("warning", ("delete_in",), found, "that they may be", step)


def _fields(
    mapping: TableMapping, to: SalesforceObject, info: ObjectInfo, *, writes: bool
) -> Iterator[Notice]:
    written = {Direction.BOTH, Direction.TO_CRM} if writes else set()
    for column, field in mapping.fields.items():
        name, place = to.field_of(column), (mapping.section, column)
        there = info.fields.get(name)
        changed = field.direction in written and field.source_of_truth is not SourceOfTruth.CRM
        if there is None:
            near = nearest(name, info.fields)
            step = f"Did you mean {near}? " if near else ""
            step += (
                "Write the field's name as salesforce: {fields: {column: API name}}, or let our user see it."
            )
            found = f"no field {name} in {info.name}"
            yield Notice("error" if changed else "hint", place, found, "a field that our user sees", step)
        elif changed and not there.updateable:
            found = f"{info.name}.{name}, which our user may not change"
            yield Notice("warning", place, found, "a field that it may change", _RIGHT)
        elif changed and not is_written(there.type):
            found = f"{info.name}.{name} of type {there.type}"
            yield Notice("warning", place, found, "a text, number, checkbox, day or time", _RIGHT)


def _links(mapping: TableMapping, to: SalesforceObject, info: ObjectInfo) -> Iterator[Notice]:
    """Yield columns that name a row's record of Enerflo, if Salesforce has no such field."""
    for column in mapping.join_columns:
        name = to.field_of(column)
        if name not in info.fields and column != to.id:
            found = f"no field {name} in {info.name}, so that only the copy says which record a row is"
            near = nearest(name, info.fields)
            step = f"Did you mean {near}? " if near else ""
            step += "Write it as salesforce: {fields: {column: API name}}, or let our user see it."
            yield Notice("warning", ("join" if mapping.join else "key", column), found, "a field", step)


def _new_records(mapping: TableMapping, to: SalesforceObject, info: ObjectInfo) -> Iterator[Notice]:
    names = [to.field_of(column) for column in mapping.join_columns]
    there = info.fields.get(names[0]) if len(names) == 1 else None
    if there is None or not there.finds_one:
        found = f"crm, and {listed(names)}, by which no record of {info.name} is named alone"
        step = "Make the field an external id that is unique: no record is made until then."
        yield Notice("warning", ("create_in",), found, "one external id that is unique", step)
    for column in mapping.on_insert:
        name = to.field_of(column)
        if name not in info.fields or not info.fields[name].createable:
            found = f"{info.name}.{name}, which our user may not fill in a new record, or which is not there"
            step = "Write a field that it may fill: no record is made until then."
            yield Notice("warning", ("on_insert", column), found, "a field that it may fill", step)
    filled = {to.field_of(column) for column in (*mapping.fields, *mapping.join_columns, *mapping.on_insert)}
    needed = [one.name for one in info.fields.values() if one.required and one.name not in filled]
    if needed:
        found = f"crm, and {listed(needed)}, which nothing fills in a new record of {info.name}"
        step = "Give it a value under on_insert, or a default there."
        yield Notice("warning", ("create_in",), found, "a value for each field that is required", step)
