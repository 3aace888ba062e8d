from __future__ import annotations

import json
import re
from typing import Any

import pytest

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.catalogue import USERS
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.exchange import Request
from enerflo_sandbox.world import World

from .conftest import Ask, asking, body_of


def _ids(answer: Any) -> list[int]:
    return [row["id"] for row in answer["results"]]


def test_installs_come_in_pages_with_the_highest_ids_first(ask: Ask, world: World) -> None:
    pages = [body_of(ask("GET", f"/api/v3/installs?page={page}&per_page=50")) for page in (1, 2, 3, 4)]
    assert [page["total"] for page in pages] == [120] * 4
    assert [len(page["results"]) for page in pages] == [50, 50, 20, 0]
    ids = [i for page in pages for i in _ids(page)]
    assert ids == sorted(ids, reverse=True)
    assert set(ids) == {row.install_id for row in world.truth.installs()}


@pytest.mark.parametrize(
    ("query", "rows"),
    [("", 25), ("?per_page=0", 25), ("?per_page=-3", 25), ("?per_page=x", 25), ("?per_page=100000", 120)],
)
def test_a_page_of_installs_has_25_rows_unless_asked_for_another_number(
    ask: Ask, query: str, rows: int
) -> None:
    assert len(body_of(ask("GET", f"/api/v3/installs{query}"))["results"]) == rows


def test_one_install_reads_the_same_by_id_by_deal_and_in_the_list(ask: Ask, world: World) -> None:
    row = list(world.truth.installs())[-1]
    one = body_of(ask("GET", f"/api/v3/installs/{row.install_id}"))
    found = body_of(ask("GET", f"/api/v3/installs/find/{row.deal_id}"))
    listed = body_of(ask("GET", "/api/v3/installs?per_page=1"))["results"][0]
    for record in (one, found, listed):
        record.pop("logged_in_user")
        record["files"] = [re.sub(r"\?.*", "", file["url"]) for file in record["files"]]
    assert one == found == listed


def test_what_is_volatile_differs_in_every_answer_and_nothing_else_does(ask: Ask) -> None:
    first, second = (ask("GET", "/api/v3/installs?per_page=5").body for _ in range(2))
    assert first != second
    assert len(first) == len(second)
    assert b"@@" not in first

    def stable(body: bytes) -> bytes:
        body = re.sub(rb'"logged_in_user":\{[^}]*\}', b"", body)
        return re.sub(rb"\?AWSAccessKeyId=[^\"]*", b"", body)

    assert stable(first) == stable(second)


@pytest.mark.parametrize(
    "path",
    [
        *("/api/v3/installs/1", "/api/v3/installs/find/263ba0ea-55ec-5b5e-a246-a5523f5f8668"),
        *("/api/v3/installs/1/notes", "/api/v3/customers/1", "/api/v3/change-orders/1", "/api/v3/nothing"),
        *("/api/v3/installs/find/x", "/api/v2/installs"),
    ],
)
def test_what_does_not_exist_is_a_404_in_json(ask: Ask, path: str) -> None:
    answer = ask("GET", path)
    assert answer.status == 404
    assert "message" in json.loads(answer.body)


def test_a_wrong_key_gets_401_in_json(ask: Ask) -> None:
    for key in ("", "wrong"):
        answer = ask("GET", "/api/v3/installs", key=key)
        assert (answer.status, answer.headers["content-type"]) == (401, "application/json")
    assert body_of(ask("GET", "/api/v3/authcheck"))["success"] is True


def test_the_key_may_stand_in_the_query(api: SandboxApi) -> None:
    assert api.handle(Request("GET", "/api/v3/authcheck", "api_key=sandbox-key")).status == 200


def test_notes_page_by_page_size_and_say_how_many_pages_there_are(ask: Ask, world: World) -> None:
    first = body_of(ask("GET", "/api/v3/installs/notes?page=1&pageSize=100&orderDir=asc"))
    rest = body_of(ask("GET", f"/api/v3/installs/notes?page={first['totalPages']}&pageSize=100&orderDir=asc"))
    beyond = body_of(ask("GET", "/api/v3/installs/notes?page=99&pageSize=100"))
    assert (first["success"], first["page"], len(first["notes"])) == (True, 1, 100)
    assert 0 < len(rest["notes"]) <= 100
    assert beyond["notes"] == []
    stamps = [note["created_at"] for note in first["notes"]]
    assert stamps == sorted(stamps)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", stamps[0])
    newest = body_of(ask("GET", "/api/v3/installs/notes?pageSize=1"))["notes"][0]
    assert newest["note_id"] == max(row.note_id for row in world.truth.notes())


def test_a_notes_id_is_its_installs_id_and_deleted_notes_are_shown(ask: Ask, world: World) -> None:
    notes = body_of(ask("GET", "/api/v3/installs/notes?pageSize=1000"))["notes"]
    truth = {row.note_id: row for row in world.truth.notes()}
    assert {note["note_id"] for note in notes} == set(truth)
    for note in notes:
        row = truth[note["note_id"]]
        assert note["id"] == note["epc_install_id"] == row.install_id
        assert (note["deleted_at"] is None) == (row.deleted_at is None)
    assert any(note["deleted_at"] for note in notes)


def test_created_after_shows_new_notes_but_neither_edits_nor_deletions(ask: Ask, world: World) -> None:
    row = next(world.truth.notes(deleted=False))
    world.step(minutes=60, events=0)
    watermark = world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.step(minutes=60, events=0)
    world.edit_note(row.note_id, "edited")
    note_id = world.add_note(row.install_id, "new")
    url = f"/api/v3/installs/notes?created_after={watermark}"
    assert [note["note_id"] for note in body_of(ask("GET", url))["notes"]] == [note_id]
    of_install = body_of(ask("GET", f"/api/v3/installs/{row.install_id}/notes"))["notes"]
    assert {row.note_id: "edited", note_id: "new"}.items() <= {
        n["note_id"]: n["note"] for n in of_install
    }.items()


def test_created_after_leaves_out_what_was_created_in_its_own_second(ask: Ask, world: World) -> None:
    row = next(world.truth.installs())
    world.step(minutes=60, events=0)
    watermark = world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.add_note(row.install_id, "in the same second")
    assert body_of(ask("GET", f"/api/v3/installs/notes?created_after={watermark}"))["notes"] == []


def test_created_after_that_is_no_date_is_refused(ask: Ask) -> None:
    assert ask("GET", "/api/v3/installs/notes?created_after=yesterday").status == 422


def test_statuses_are_those_of_the_company(ask: Ask, world: World) -> None:
    rows = body_of(ask("GET", "/api/v3/install-statuses?company_id=1300"))["results"]
    assert {(row["id"], row["name"]) for row in rows} == {tuple(row) for row in world.truth.statuses()}
    assert (4, "On Hold") in {(row["id"], row["name"]) for row in rows}
    assert body_of(ask("GET", "/api/v3/install-statuses?company_id=9"))["results"] == []


def test_customers_page_by_page_size_and_empty_objects_are_arrays(ask: Ask, world: World) -> None:
    answer = body_of(ask("GET", "/api/v1/customers?page=1&pageSize=500"))
    rows = answer["data"]
    assert answer["dataCount"] == len(rows) == world.truth.counts()["customers"]
    assert any(row["surveys"] == [] for row in rows)
    assert any(row["integrations"] == [] for row in rows)
    truth = {row.customer_id: row for row in world.truth.customers()}
    for row in rows:
        one = truth[row["id"]]
        assert (row["first_name"], row["zip"], row["status_name"]) == (
            one.first_name,
            one.zip,
            one.status_name,
        )
        assert row["external_id"] == one.integration_record_id
    signed = next(row for row in rows if row["surveys"])
    assert isinstance(next(iter(signed["surveys"].values()))["install"]["created_at"], int)
    assert len(body_of(ask("GET", "/api/v1/customers"))["data"]) == 25


def test_customers_are_searched_by_name_mail_phone_and_external_id(ask: Ask, world: World) -> None:
    one = next(row for row in world.truth.customers() if row.email and row.integration_record_id)
    for words in (one.email, one.mobile, one.integration_record_id):
        found = body_of(ask("GET", f"/api/v1/customers?search={words}"))["data"]
        assert one.customer_id in [row["id"] for row in found]
    assert body_of(ask("GET", "/api/v1/customers?search=nobody-of-this-name"))["dataCount"] == 0


def test_change_orders_have_the_documented_shape(ask: Ask, world: World) -> None:
    world.step(minutes=60, events=10, kinds=[ChangeKind.CHANGE_ORDER_SIGNED])
    answer = body_of(ask("GET", "/api/v3/change-orders?per_page=500"))
    truth = {row.change_order_id: row for row in world.truth.change_orders()}
    assert answer["total"] == len(answer["results"]) == len(truth)
    assert _ids(answer) == sorted(truth, reverse=True)
    for order in answer["results"]:
        row = truth[order["id"]]
        values = order["change_values"]
        count = values.get("panel_count", {"old": None, "new": None})
        assert (count["old"], count["new"]) == (row.panel_count_old, row.panel_count_new)
        assert values["total_cost"]["new"] - values["total_cost"]["old"] == row.total_change
        assert (order["signed_at"] is None) == (row.signed_at is None)
    one = answer["results"][0]
    assert body_of(ask("GET", f"/api/v3/change-orders/{one['id']}"))["id"] == one["id"]
    data = body_of(ask("GET", f"/api/v3/installs/{one['epc_install_id']}/change-order-data"))
    assert one["id"] in [order["id"] for order in data["change_orders"]]


def test_adders_are_an_object_by_id_or_an_empty_array(ask: Ask) -> None:
    orders = body_of(ask("GET", "/api/v3/change-orders?per_page=500"))["results"]
    sides = [order["change_values"]["adders"][side] for order in orders for side in ("old", "new")]
    assert [] in sides
    filled = next(side for side in sides if side)
    assert all(key == str(adder["id"]) for key, adder in filled.items())


def test_users_ignore_page_size_and_honour_per_page(ask: Ask) -> None:
    capped = body_of(ask("GET", "/api/v3/users?pageSize=500"))
    assert (len(capped["results"]), capped["totalPages"]) == (100, 3)
    whole = body_of(ask("GET", "/api/v3/users?per_page=500"))
    assert (len(whole["results"]), whole["totalPages"]) == (len(USERS), 1)
    assert body_of(ask("GET", "/api/v3/offices"))["results"]


def test_pages_shift_when_an_install_is_added_between_two_pages(world: World) -> None:
    pages: list[int] = []

    def between(request: Request, company: World) -> None:
        pages.append(1)
        if len(pages) == 2:
            company.create_install()

    ask = asking(SandboxApi(world, before_request=between))
    first, second = (body_of(ask("GET", f"/api/v3/installs?page={page}&per_page=10")) for page in (1, 2))
    assert set(_ids(first)) & set(_ids(second)) == {_ids(first)[-1]}
    assert (first["total"], second["total"]) == (120, 121)


def test_a_page_over_the_gateways_patience_gets_504(world: World) -> None:
    ask = asking(SandboxApi(world, largest_page=50, seconds_per_record=0.1))
    assert ask("GET", "/api/v3/installs?per_page=51").status == 504
    fits = ask("GET", "/api/v3/installs?per_page=50")
    assert (fits.status, fits.delay) == (200, pytest.approx(5.0))
