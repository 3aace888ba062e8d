"""What holds personal data is masked by default; a mapping says otherwise in so many words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from enerflo_sync.crm.mapping import FieldMapping, TableMapping
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.plan.render.shown_plan import masked_row
from enerflo_sync.reconcile.store import masked_key, personal_data_classes
from enerflo_sync.warehouse.schema import kind_of_column, metadata, personal_data_of

PERSONAL = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+1 555 010 9999",
    "note": "call Ada",
}


def table(fields: dict[str, dict[str, Any]], **more: Any) -> TableMapping:
    options: dict[str, Any] = {"crm_table": "crm.t", "key": {"id": "customer_id"}, **more}
    return TableMapping(**options, fields={name: FieldMapping(**field) for name, field in fields.items()})


# Every column that names or describes a person. One that is left out here, or there, is noticed.
MIRRORED = {
    "installs": {"customer_name", "agent_name"},
    "notes": {"body"},
    "customers": {"first_name", "last_name", "address", "city", "zip", "email", "mobile"},
    "submissions": {"street", "city", "postal_code"},
}


def test_the_columns_of_persons_are_these() -> None:
    tables = [one.name for one in metadata.tables.values() if one.schema == "enerflo"]
    assert {name: set(held) for name in tables if (held := personal_data_of(name))} == MIRRORED


@pytest.mark.parametrize(
    ("place", "column"), [(t, c) for t, columns in MIRRORED.items() for c in sorted(columns)]
)
def test_every_declared_column_is_masked_by_default(place: str, column: str) -> None:
    mapping = FieldMapping(enerflo=column, type="text")
    assert mapping.personal_kind is personal_data_of(place)[column]
    assert "Ada" not in str(mask("Ada Lovelace", mapping.personal_kind))


def test_a_name_means_the_same_in_every_table_of_the_mirror() -> None:
    for one in metadata.tables.values():
        for column in one.columns if one.schema == "enerflo" else ():
            declared = personal_data_of(one.name).get(column.name, PersonalData.NONE)
            assert kind_of_column(column.name) is declared, f"{one.name}.{column.name}"


def test_a_mapping_unmasks_or_masks_otherwise_in_so_many_words() -> None:
    def kind(**more: Any) -> PersonalData:
        return FieldMapping(enerflo="email", type="text", **more).personal_kind

    assert kind() is PersonalData.EMAIL
    assert kind(personal_data=False) is PersonalData.NONE
    assert kind(personal_data="none") is PersonalData.NONE
    assert kind(personal_data="free_text") is PersonalData.FREE_TEXT
    with pytest.raises(ValidationError):
        kind(personal_data=True)
    with pytest.raises(ValidationError):
        kind(personal_data="mail")


def test_keys_that_are_personal_are_masked_whether_they_are_fields_or_not() -> None:
    by_email = table({"city": {"enerflo": "city", "type": "text"}}, key={"mail": "email"})
    joined = table(
        {"mail": {"enerflo": "email", "type": "text"}, "n": {"enerflo": "state", "type": "text"}},
        key=["mail"], join={"id": "customer_id"},
    )  # fmt: skip
    adopted = table({"n": {"enerflo": "state", "type": "text"}}, adopt={"mail": "email"})
    for mapping in (by_email, joined, adopted):
        classes = personal_data_classes({"leads": mapping})
        assert masked_key("leads", {"mail": "ada@example.com"}, classes) == {"mail": "…@….com"}
        assert masked_row({"mail": "ada@example.com"}, mapping) == {"mail": "…@….com"}


def test_ids_stay_as_they_are() -> None:
    mapping = table({"city": {"enerflo": "city", "type": "text"}})
    assert masked_row({"id": 7, "city": "Denver"}, mapping) == {"id": 7, "city": "[6 characters]"}
    assert masked_key("leads", {"id": 7}, personal_data_classes({"leads": mapping})) == {"id": 7}
