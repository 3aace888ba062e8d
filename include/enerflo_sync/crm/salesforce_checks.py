"""Checks of a table whose changes go directly to Salesforce."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.crm.mapping import Side, TableMapping
from enerflo_sync.crm.problems import Problem
from enerflo_sync.crm.salesforce import SalesforceObject
from enerflo_sync.crm.source import Place, Source


def salesforce_problems(mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    """Yield options of Salesforce that contradict each other or need another option."""
    named = mapping.salesforce
    if mapping.write_to == "salesforce" and named is None:
        expected = "salesforce: {object: Opportunity} beside it, which says of what the table is a copy"
        yield source.problem((*place, "write_to"), "salesforce, and no object of Salesforce", expected)
    if named is None:
        return
    if mapping.write_to != "salesforce":
        expected = "write_to: salesforce beside it"
        yield source.problem((*place, "salesforce"), "an object of Salesforce that nothing writes", expected)
    yield from _shared_fields(mapping, named, source, place)
    if not named.delete:
        return
    if Side.CRM not in mapping.delete_in:
        expected = "delete_in: [crm] beside it"
        yield source.problem((*place, "salesforce", "delete"), "true, and no delete_in", expected)
    if not any(named.field_of(column) == "IsDeleted" for column in mapping.deleted_when):
        expected = "a column of IsDeleted in deleted_when, by which the copy shows that a record is deleted"
        found = "true, and nothing that shows a deleted record"
        yield source.problem((*place, "salesforce", "delete"), found, expected)


def _shared_fields(
    mapping: TableMapping, named: SalesforceObject, source: Source, place: Place
) -> Iterator[Problem]:
    """Yield fields of Salesforce to which two columns would be written, so that one value would be lost."""
    owners: dict[str, str] = {}
    for column in dict.fromkeys((*mapping.join_columns, *mapping.fields, *mapping.on_insert)):
        name = named.field_of(column)
        owner = owners.setdefault(name.lower(), column)
        if owner != column:
            spot = (*place, "salesforce", "fields", column if column in named.fields else owner)
            found = f"the field {name}, which {owner} and {column} both stand for"
            yield source.problem(spot, found, "a field of its own for each column")
