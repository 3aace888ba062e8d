"""``enerflo-sync quarantine``: list, show, replay and dismiss, with their exit codes and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enerflo_sandbox.world import World
from tests.cli.conftest import Run

SECRET = "zoe.unmistakable@example.org"


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(folder))
    return folder


@pytest.fixture
def filled(run: Run, drop: Path, world: World) -> Run:
    """One unknown event with personal data, one file that was read half-written."""
    install_id = min(row.install_id for row in world.truth.installs())
    (drop / "unknown.json").write_text(
        json.dumps({"webhook_event": "brand_new", "id": 1, "email": SECRET, "full_name": "Zoe Unmistakable"})
    )
    (drop / "half.json").write_text(json.dumps({"webhook_event": "update_install", "id": install_id})[:-1])
    assert run("ingest").code == 1
    return run


def test_an_empty_quarantine_is_said_and_exits_with_0(run: Run) -> None:
    listed = run("quarantine", "list")
    assert (listed.code, listed.out) == (0, "Nothing is open.\n")
    assert run("quarantine", "list", "--json").json == {"account": "default", "groups": []}


def test_the_list_groups_and_masks_and_exits_with_1(filled: Run) -> None:
    listed = filled("quarantine", "list")
    assert listed.code == 1
    assert "unknown_event at brand_new" in listed.out
    assert "truncated_json" in listed.out
    found = filled("quarantine", "list", "--json").json["groups"]
    assert {group["reason"]: group["items"] for group in found} == {
        "unknown_event at brand_new": 1,
        "truncated_json": 1,
    }
    every = [listed.out, json.dumps(found), filled("quarantine", "list", "--items").out]
    assert [text for text in every if "nmistakable" in text] == []


def test_the_list_is_filtered_and_a_filter_without_open_items_exits_with_0(filled: Run) -> None:
    found = filled("quarantine", "list", "--kind", "file", "--items", "--json").json["items"]
    assert [item["reason"] for item in found] == ["truncated_json"]
    assert filled("quarantine", "list", "--kind", "record").code == 0


def test_an_item_is_shown_masked_and_revealed_only_when_asked(filled: Run) -> None:
    (item,) = filled("quarantine", "list", "--kind", "event", "--items", "--json").json["items"]
    shown = filled("quarantine", "show", item["item_id"][:10])
    assert shown.code == 1
    assert item["item_id"] in shown.out
    assert "nmistakable" not in shown.out
    revealed = filled("quarantine", "show", item["item_id"], "--reveal", "--by", "ann", "--json").json
    assert revealed["payload"]["email"] == SECRET


def test_a_replay_is_dry_until_it_is_told_to_go(filled: Run, drop: Path) -> None:
    (half,) = (drop.parent / "archive").rglob("half.json")
    half.write_text(half.read_text() + "}")
    dry = filled("quarantine", "replay", "--all")
    assert dry.code == 1
    assert "ingest 1 event" in dry.out
    assert "Nothing was done: add --go to do it." in dry.out
    went = filled("quarantine", "replay", "--all", "--go", "--json").json
    assert went["counts"] == {"replayed": 1, "still_failing": 1}
    (item,) = [one["item_id"] for one in went["results"] if one["kind"] == "file"]
    assert filled("quarantine", "replay", item, "--go").code == 0
    listed = filled("quarantine", "list", "--state", "replayed", "--json").json["groups"]
    assert [group["reason"] for group in listed] == ["truncated_json"]


def test_a_dismissal_closes_with_a_reason(filled: Run) -> None:
    done = filled("quarantine", "dismiss", "--all", "--reason", "a test of theirs", "--json")
    assert (done.code, done.json["dismissed"]) == (0, 2)
    assert filled("quarantine", "list").code == 0
    (first, _) = filled("quarantine", "list", "--state", "all", "--items", "--json").json["items"]
    assert first["decision_reason"] == "a test of theirs"
    assert first["decided_by"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "zzz"), "no item has the id 'zzz'"),
        (("show", ""), "no item has the id ''"),
        (("replay",), "no item was named"),
        (("replay", "--all", "--event", "x"), "exclude each other"),
        (("replay", "--event", "x"), "no open item fits"),
        (("dismiss", "--fingerprint", "zz", "--reason", "r"), "no item has the fingerprint"),
        (("dismiss", "--all", "--reason", " "), "needs a reason"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exits_with_2(
    run: Run, words: tuple[str, ...], says: str
) -> None:
    ended = run("quarantine", *words)
    assert ended.code == 2
    assert says in ended.err
    assert ended.out == ""
    assert len(ended.err.strip().splitlines()) == 1
