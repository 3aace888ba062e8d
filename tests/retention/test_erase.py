"""A JSON document without personal data: what is read from it stays, and nothing else but its shape."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from enerflo_sandbox.world import World
from enerflo_sync.errors import BadRecordError
from enerflo_sync.inbox.forgotten_events import erased_body, is_about
from enerflo_sync.inbox.identify import identify
from enerflo_sync.inbox.submission import read_submission
from enerflo_sync.mirror.erase import erase
from enerflo_sync.mirror.forgotten import Forgotten, erased_record, personal_columns
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.installs import INSTALLS
from tests.inbox.conftest import sample

WHO = Forgotten(frozenset({5}), frozenset({1}))


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else None


def test_only_what_is_read_stays_and_what_is_personal_does_not() -> None:
    document = {"id": 7, "name": "Ann", "tags": ["a", {"b": 1}], "open": True, "none": None, "state": "TX"}
    found = erase(document, lambda one: (one["id"], one["state"]), lambda one: one["name"])
    assert found == {
        "id": 7,
        "name": None,
        "tags": [None, {"b": None}],
        "open": True,
        "none": None,
        "state": "TX",
    }
    assert document["name"] == "Ann"


def test_a_value_on_which_both_depend_is_erased_all_the_same() -> None:
    document = {"title": "Ann's house"}
    assert erase(document, lambda one: one["title"], lambda one: one["title"]) == {"title": None}


def test_a_value_that_decides_how_the_document_is_read_stays() -> None:
    document = {"kind": "13", "street": "1311 Bay Ln"}

    def personal(one: dict[str, str]) -> list[dict[str, str]]:
        return [{"street": one["street"]}] if one["kind"] == "13" else []

    found = erase(document, lambda one: [one["kind"]], personal)
    assert found == {"kind": "13", "street": None}


def rows_without(resource: Any, record: Any) -> list[Any]:
    found = []
    for part, rows in zip(resource.parts, resource.rows_by_column(record), strict=True):
        hidden = personal_columns(str(part.table.name))
        found.append([{name: row[name] for name in row if name not in hidden} for row in rows])
    return found


def test_records_keep_every_other_column() -> None:
    world = World(6, seed=3, per_cause=0)
    for resource, path in ((INSTALLS, "installs"), (CUSTOMERS, "customers")):
        for record in records(world, path):
            found = erased_record(resource, record)
            assert shape(found) == shape(record)
            assert rows_without(resource, found) == rows_without(resource, record)
            for part, rows in zip(resource.parts, resource.rows_by_column(found), strict=True):
                hidden = personal_columns(str(part.table.name))
                assert all(row[name] is None for row in rows for name in hidden if name in row)


def records(world: World, path: str) -> list[Any]:
    from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
    from enerflo_sandbox.exchange import Request

    api = SandboxApi(world)
    asked = "/api/v3/installs" if path == "installs" else "/api/v1/customers"
    answer = api.handle(Request("GET", asked, headers={"api-key": DEFAULT_KEY}))
    document = msgspec.json.decode(answer.body)
    return list(document.get("data") or document.get("results") or document)


def test_a_payload_asks_for_the_same_reads_and_has_the_same_design() -> None:
    body = sample("deal.projectSubmitted")
    found = erased_body(body)
    assert identify(found) == identify(body)
    before, after = read_submission(body), read_submission(found)
    assert (after.deal_id, after.content_hash) == (before.deal_id, before.content_hash)
    hidden = personal_columns("submissions")
    assert {k: v for k, v in after.values.items() if k not in hidden} == {
        k: v for k, v in before.values.items() if k not in hidden
    }
    assert all(after.values[name] is None for name in hidden)
    assert erased_body(found) == found


def test_a_design_stays_readable_whose_number_of_modules_stands_in_the_street() -> None:
    body = json.loads(json.dumps(sample("deal.projectSubmitted"), sort_keys=True))
    outputs = body["payload"]["proposal"]["pricingOutputs"]
    arrays = (body["payload"].get("design") or outputs["design"])["arrays"]
    outputs["deal"]["projectAddress"]["line1"] = f"{arrays[0]['moduleCount']}17 Main St"
    before, after = read_submission(body), read_submission(erased_body(body))
    hidden = personal_columns("submissions")
    assert after.values == {k: None if k in hidden else v for k, v in before.values.items()}


def test_a_design_that_cannot_be_read_keeps_its_reason_and_nothing_else() -> None:
    body = sample("deal.projectSubmitted")
    outputs = body["payload"]["proposal"]["pricingOutputs"]
    (body["payload"].get("design") or outputs["design"])["arrays"][0]["moduleCount"] = "many"
    outputs["deal"]["projectAddress"]["line1"] = "31415 Canarylane"
    found = erased_body(body)
    reasons = []
    for one in (body, found):
        with pytest.raises(BadRecordError) as caught:
            read_submission(one)
        reasons.append((caught.value.what, caught.value.field))
    assert reasons[0] == reasons[1]
    assert "Canarylane" not in json.dumps(found)


@pytest.mark.parametrize(
    "more",
    [{"customer": {"id": 5}}, {"customerId": "5"}, {"install": {"customer_id": 5}}, {"epc_install_id": 1}],
)
def test_an_event_that_nobody_knows_names_its_customer_in_an_id(more: dict[str, Any]) -> None:
    assert is_about({"webhook_event": "new_survey"} | more, WHO, ())


@pytest.mark.parametrize("more", [{"days_to_install": 1}, {"customer_rating": 5}, {"customers": 5}])
def test_other_numbers_of_an_event_name_nobody(more: dict[str, Any]) -> None:
    assert not is_about({"webhook_event": "new_survey"} | more, WHO, ())
