from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.control import Control
from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.spelling import Spelling, parse_spelling
from enerflo_sandbox.world import World

from .conftest import asking, body_of
from .test_api_writes import ADD, LEAD

SENT = "Panels  & wires\n are <late> \U0001f600\u2600\ufe0f"
KEPT = {
    "html": "Panels  &amp; wires\n are &lt;late&gt; \U0001f600\u2600\ufe0f",
    "blanks": "Panels & wires are <late> \U0001f600\u2600\ufe0f",
    "cut=7": "Panels ",
    "emoji": "Panels  & wires\n are <late> \u2600\ufe0f",
}


@pytest.mark.parametrize(("word", "kept"), KEPT.items())
def test_a_note_is_kept_in_the_vendors_spelling_in_the_answer_and_in_every_read(
    world: World, word: str, kept: str
) -> None:
    ask = asking(SandboxApi(world, spelling=parse_spelling((word,))))
    url = f"/api/v3/installs/{next(world.truth.installs()).install_id}/notes"
    answer = body_of(ask("POST", url, {"note": SENT}))["note"]
    assert answer["note"] == kept
    assert body_of(ask("GET", url))["notes"][0]["note"] == kept
    listed = body_of(ask("GET", "/api/v3/installs/notes?pageSize=1&orderDir=desc"))["notes"][0]
    assert (listed["note_id"], listed["note"]) == (answer["note_id"], kept)
    assert world.received[-1].body == {"note": SENT}


def test_a_text_of_emoji_alone_leaves_a_question_mark() -> None:
    assert Spelling(emoji=True).text("\U0001f600") == "?"


@pytest.mark.parametrize(
    ("zone", "kept"), [("UTC", "2025-02-04 00:00:00"), ("America/Chicago", "2025-02-03 06:00:00")]
)
def test_a_milestones_date_keeps_its_day_alone(world: World, zone: str, kept: str) -> None:
    ask = asking(SandboxApi(world, spelling=Spelling(days=True, zone=zone)))
    row = next(world.truth.milestones())
    url = f"/api/v3/installs/{row.install_id}/milestones/{row.milestone_id}"
    answer = body_of(ask("PUT", url, {"completed_at": "2025-02-04T04:05:06Z", "due_at": None}))["data"]
    assert (answer["completed_at"], answer["due_at"]) == (kept, None)
    shown = body_of(ask("GET", f"/api/v3/installs/{row.install_id}"))["all_milestones"]
    assert kept in [one["completed_at"] for one in shown]


def test_with_echo_the_answer_repeats_what_was_sent_and_only_a_read_shows_what_is_kept(world: World) -> None:
    ask = asking(SandboxApi(world, spelling=Spelling(html=True, days=True, echo=True)))
    row = next(world.truth.milestones())
    notes = f"/api/v3/installs/{row.install_id}/notes"
    note = body_of(ask("POST", notes, {"note": "a & b"}))["note"]
    assert note["note"] == "a & b"
    assert body_of(ask("GET", notes))["notes"][0]["note"] == "a &amp; b"
    url = f"/api/v3/installs/{row.install_id}/milestones/{row.milestone_id}"
    answer = body_of(ask("PUT", url, {"completed_at": "2025-02-04T04:05:06Z"}))["data"]
    assert answer["completed_at"] == "2025-02-04 04:05:06"
    shown = body_of(ask("GET", f"/api/v3/installs/{row.install_id}"))["all_milestones"]
    assert "2025-02-04 00:00:00" in [one["completed_at"] for one in shown]


def test_of_a_lead_the_texts_are_re_spelled_and_its_key_is_not(world: World) -> None:
    ask = asking(SandboxApi(world, spelling=Spelling(html=True)))
    lead = {**LEAD, "first_name": "D & D", "integration_record_id": "A&B"}
    customer_id = body_of(ask("POST", ADD, {"lead": lead}))["customer_id"]
    row = body_of(ask("GET", "/api/v1/customers?search=A%26B"))["data"][0]
    assert (row["id"], row["first_name"], row["external_id"]) == (customer_id, "D &amp; D", "A&B")


def test_a_key_is_kept_in_small_letters_and_a_lead_is_found_by_it_however_it_is_written(world: World) -> None:
    ask = asking(SandboxApi(world, spelling=parse_spelling(("keys",))))
    first = body_of(ask("POST", ADD, {"lead": {**LEAD, "integration_record_id": " Account.ABC"}}))[
        "customer_id"
    ]
    again = {**LEAD, "city": "Reno", "integration_record_id": "account.abc "}
    assert body_of(ask("POST", ADD, {"lead": again}))["customer_id"] == first
    row = body_of(ask("GET", "/api/v1/customers?search=account.abc"))["data"][0]
    assert (row["id"], row["city"], row["external_id"]) == (first, "Reno", "account.abc")


def test_keys_that_differ_in_case_are_two_leads_where_the_vendor_keeps_them_as_sent(world: World) -> None:
    ask = asking(SandboxApi(world))
    ids = [
        body_of(ask("POST", ADD, {"lead": {**LEAD, "integration_record_id": key}}))["customer_id"]
        for key in ("Account.ABC", "account.abc", "Account.ABC")
    ]
    assert ids[0] == ids[2] != ids[1]


def test_a_share_is_drawn_by_the_seed() -> None:
    def drawn(seed: int) -> list[Mapping[str, Any]]:
        spelling = Spelling(html=True, share=0.5, seed=seed)
        return [spelling.kept({"note": "&"}) for _ in range(40)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 5 < sum(body["note"] == "&" for body in drawn(1)) < 35


def test_a_running_company_is_told_how_to_spell(api: SandboxApi, world: World) -> None:
    def order(body: object) -> Response:
        return Control(api).handle(Request("POST", "/_sandbox/spelling", "", {}, json.dumps(body).encode()))

    assert order({"respell": ["html", "days", "cut=9"], "zone": "America/Chicago"}).status == 200
    assert api.spelling == Spelling(html=True, days=True, cut=9, zone="America/Chicago")
    assert order({"respell": ["shout"]}).status == 422
    assert order({}).status == 200
    assert api.spelling == Spelling()


def test_what_is_no_spelling_is_refused() -> None:
    for text in ("shout", "cut", "cut=0", "html=1"):
        with pytest.raises(ValueError, match="a spelling is one of"):
            parse_spelling((text,))
    with pytest.raises(ValueError, match="between 0 and 1"):
        Spelling(share=2)
    with pytest.raises(ValueError, match="1 character or more"):
        Spelling(cut=0)
