"""What the doctor says of a table and its object: each right, field and mode by itself."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.copies.salesforce.api import FieldInfo, ObjectInfo
from enerflo_sync.copies.salesforce.check import object_notices
from enerflo_sync.crm.mapping import Mode, TableMapping

USUAL: dict[str, Any] = {
    **{"crm_table": "sf.opportunity", "key": ["Id"], "join": {"Install": "install_id"}},
    **{"write_to": "salesforce", "salesforce": {"object": "Opportunity"}, "create_in": ["crm"]},
    "fields": {
        "Size": {"enerflo": "system_size_kw", "type": "number"},
        "Stage": {"enerflo": "status_name", "type": "text"},
    },
    "on_insert": {"Kind": "Solar"},
}
THERE = ("Id", "Install", "Size", "Stage", "Kind", "LastModifiedDate")
Found = set[tuple[str, tuple[str, ...], str]]


def field(name: str, **values: Any) -> FieldInfo:
    usual = {"type": "string", "updateable": True, "createable": True, "finds_one": name == "Install"}
    return FieldInfo(name, **{**usual, "required": False, **values})


def found(mode: Mode = Mode.BOTH, info: dict[str, Any] | None = None, **mapping: Any) -> Found:
    """Return the notices; ``info`` has fields by name, None for one that is not there, and rights."""
    said = info or {}
    rights = {name: said.pop(name, True) for name in ("updateable", "createable", "deletable")}
    fields = {name: field(name) for name in THERE} | said
    there = {name: one for name, one in fields.items() if one is not None}
    made = TableMapping.model_validate(USUAL | mapping)
    return {(str(one.severity), tuple(map(str, one.place)), one.found)
            for one in object_notices(made, mode, ObjectInfo("Opportunity", there, **rights))}  # fmt: skip


def test_what_fits_is_nothing_to_tell() -> None:
    for mode in (Mode.BOTH, Mode.CRM, Mode.ENERFLO, Mode.REPORT):
        assert found(mode) == set()


@pytest.mark.parametrize("mode", list(Mode))
def test_rights_matter_where_we_write(mode: Mode) -> None:
    writes = "to_crm" in mode.writes
    no_right = {("error", ("salesforce", "object"), "Opportunity, whose records our user may not change")}
    assert found(mode, {"updateable": False}) == (no_right if writes else set())
    locked = {("warning", ("fields", "Size"), "Opportunity.Size, which our user may not change")}
    assert found(mode, {"Size": field("Size", updateable=False)}) == (locked if writes else set())
    kind = {("warning", ("fields", "Size"), "Opportunity.Size of type address")}
    assert found(mode, {"Size": field("Size", type="address")}) == (kind if writes else set())
    missing = {("error" if writes else "hint", ("fields", "Size"), "no field Size in Opportunity")}
    assert found(mode, {"Size": None}) == missing
    not_unique = {
        (
            "warning",
            ("create_in",),
            "crm, and Install, by which no record of Opportunity is named alone",
        )
    }
    assert found(mode, {"Install": field("Install", finds_one=False)}) == (not_unique if writes else set())


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, True),
        ({"direction": "to_crm"}, True),
        ({"direction": "to_enerflo"}, False),
        ({"source_of_truth": "crm"}, False),
        ({"source_of_truth": "review"}, True),
    ],
)
def test_of_a_field_only_what_we_change_needs_a_right(options: dict[str, str], changed: bool) -> None:
    fields = {"Size": {"enerflo": "system_size_kw", "type": "number", **options}}
    locked = {("warning", ("fields", "Size"), "Opportunity.Size, which our user may not change")}
    assert found(info={"Size": field("Size", updateable=False)}, fields=fields) == (
        locked if changed else set()
    )
    missing = {("error" if changed else "hint", ("fields", "Size"), "no field Size in Opportunity")}
    assert found(info={"Size": None}, fields=fields) == missing


def test_what_new_records_need() -> None:
    two = {"join": {"Install": "install_id", "Deal": "deal_id"}}
    assert {one[1] for one in found(info={"Deal": field("Deal", finds_one=True)}, **two)} == {("create_in",)}
    place = ("on_insert", "Kind")
    for kind in (None, field("Kind", createable=False)):
        assert {one[:2] for one in found(info={"Kind": kind})} == {("warning", place)}
    needed = {"Close": field("Close", required=True), "Size": field("Size", required=True)}
    (told,) = found(info=needed)
    assert told == (
        *("warning", ("create_in",)),
        "crm, and Close, which nothing fills in a new record of Opportunity",
    )
    for filled in ("Install", "Kind"):
        assert found(info={filled: field(filled, required=True, finds_one=filled == "Install")}) == set()
    # None of it where no record is made.
    wrong = {
        "Kind": None,
        "Close": field("Close", required=True),
        "Install": field("Install", finds_one=False),
    }
    assert found(info=dict(wrong), create_in=["enerflo"]) == set()
    assert found(Mode.ENERFLO, info=dict(wrong)) == set()


@pytest.mark.parametrize(("allowed", "deletable"), [(True, True), (True, False), (False, True)])
def test_records_are_deleted_only_where_both_say_so(allowed: bool, deletable: bool) -> None:
    options = {"object": "Opportunity", "delete": allowed}
    places = {
        one[1]
        for one in found(
            info={"deletable": deletable, "Gone": field("Gone")},
            salesforce=options | {"fields": {"Gone": "IsDeleted"}},
            **{"delete_in": ["crm"], "deleted_when": {"Gone": True}},
        )
    }
    assert places == (set() if allowed and deletable else {("delete_in",)})


def test_a_link_that_only_the_copy_has_is_told() -> None:
    (told,) = {one for one in found(info={"Install": None}) if one[1][0] == "join"}
    assert told[2].startswith("no field Install in Opportunity, so that only the copy says")
    by_key = {"key": {"Install": "install_id"}, "join": None}
    assert {one[1] for one in found(info={"Install": None}, **by_key)} >= {("key", "Install")}
    # The record's own id is always there.
    own = {"key": {"Id": "install_id"}, "join": None}
    assert {one[1] for one in found(info={"Id": None}, **own)} == {("create_in",)}


def test_a_table_that_goes_elsewhere_has_nothing_of_salesforce() -> None:
    assert found(info={"updateable": False}, write_to="changes", salesforce=None) == set()


@pytest.mark.parametrize(
    ("info", "advised"),
    [
        ({"Size": None, "Sise": field("Sise")}, "Did you mean Sise? Write the field's name"),
        ({"Size": None}, "Write the field's name"),
        ({"Install": None, "Instal": field("Instal")}, "Did you mean Instal? Write it as"),
        ({"Install": None}, "Write it as"),
    ],
)
def test_a_name_that_is_nearly_a_fields_is_advised(info: dict[str, Any], advised: str) -> None:
    there = {
        name: one for name, one in ({name: field(name) for name in THERE} | info).items() if one is not None
    }
    object_ = ObjectInfo("Opportunity", there, True, True, True)
    told = list(object_notices(TableMapping.model_validate(USUAL), Mode.BOTH, object_))
    assert [one.next_step for one in told if one.next_step.startswith(advised)] != []
