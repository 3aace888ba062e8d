"""An Enerflo that makes HTML of a note, or adds words to it, and does not say under which id it keeps it."""

from __future__ import annotations

import json

import pytest

from enerflo_sandbox.exchange import Request, Response
from enerflo_sync.outbox.kept import is_alike
from tests.writes.conftest import Desk
from tests.writes.sending import a_round, in_crm, note, posts

TEXT = "Please call the customer about the new roof before the crew comes."


@pytest.mark.parametrize(
    ("form", "text"),
    [("<p>{}</p>", "Call"), ("<p>{}<br></p>", TEXT), ("[API] {}", TEXT), ("{}\n-- sent by API", TEXT)],
)
def test_a_note_to_which_enerflo_adds_something_becomes_no_second_row(
    agreed: Desk, form: str, text: str
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    real = desk.api._write

    def write(request: Request, path: str) -> Response:
        body = {"note": form.format(json.loads(request.body)["note"])}
        answer = real(Request("POST", request.path, "", request.headers, json.dumps(body).encode()), path)
        return Response(answer.status, answer.headers, b'{"success": true}')

    desk.api._write = write  # type: ignore[method-assign]
    before = len(in_crm(desk, install_id))
    for key in ("N1", "N2"):
        note(desk, key, install_id, text)
    assert a_round(desk) == 6
    assert [a_round(desk) for _ in range(3)] == [0, 0, 0]
    assert len(posts(desk)) == 2
    assert len(in_crm(desk, install_id)) == before + 2
    rows = desk.sql("select enerflo_note_id, body from crm.notes where note_id in ('N1', 'N2')")
    assert [row["body"] for row in rows] == [text, text]
    assert len({row["enerflo_note_id"] for row in rows} - {None}) == 2


@pytest.mark.parametrize(
    ("sent", "found", "alike"),
    [
        ("Call", "<div>Call</div>", True),
        ("Call", "Please call again", False),
        (TEXT, f"On Monday Ann wrote: {TEXT}", True),
        (TEXT, TEXT[:30] + " tomorrow" + TEXT[30:], False),
    ],
)
def test_a_short_text_within_another_note_is_not_taken_for_ours(sent: str, found: str, alike: bool) -> None:
    assert is_alike(sent, found) is alike
