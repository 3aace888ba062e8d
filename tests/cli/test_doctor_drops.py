"""``enerflo-sync doctor`` says what accounts share of the places of their webhook files."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.drop.refusals import NAME
from enerflo_sync.reconcile.render.wording import utc
from tests.cli.conftest import SHIPPED, Run
from tests.receiver.conftest import SECRET, started
from tests.receiver.test_refusals import note_of


def checked(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, west: str) -> tuple[int, list[Any]]:
    """Return the exit code and the check of drops of the account ``default``, which drops into ``drops/in``."""
    text = SHIPPED.read_text().replace("accounts:\n", f"accounts:\n  west: {{{west}}}\n", 1)
    (folder / "sync.yaml").write_text(text)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(folder / "sync.yaml"))
    monkeypatch.setenv("WEBHOOK_DROP_URI", "/drops/in")
    run("migrate")
    result = run("doctor", "--json")
    return result.code, [one for one in result.json["checks"] if one["name"] == "webhooks"]


def test_an_archive_that_accounts_share_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (check,) = checked(run, tmp_path, monkeypatch, "webhook_drop_uri: /drops/west")
    (found,) = check["findings"]
    assert (found["severity"], found["what"]) == ("warning", "accounts.default.webhook_archive_uri")
    assert (found["found"], found["expected"]) == ("the archive of account west", "an archive of its own")


def test_a_drop_that_accounts_share_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, (check,) = checked(run, tmp_path, monkeypatch, "webhook_drop_uri: /drops/in")
    assert (code, check["ok"]) == (2, False)
    assert "accounts west and default have the same drop" in check["detail"]


def test_places_of_ones_own_are_not_mentioned(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "webhook_drop_uri: /drops/west, webhook_archive_uri: /old/west"
    assert checked(run, tmp_path, monkeypatch, own)[1] == []


def of_the_drop(run: Run, monkeypatch: pytest.MonkeyPatch, drop: str, **more: str) -> tuple[int, Any]:
    monkeypatch.setenv("WEBHOOK_DROP_URI", drop)
    run("migrate")
    result = run("doctor", "--json")
    found = [one for one in result.json["checks"] if one["name"] == "drop"]
    return result.code, found[0] if found else None


def test_a_drop_that_is_not_there_is_a_warning_with_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, check = of_the_drop(run, monkeypatch, str(tmp_path / "drop"))
    assert (code, check["ok"]) == (1, False)
    (found,) = check["findings"]
    assert found["what"] == "accounts.default.webhook_drop_uri"
    assert found["found"] == f"the drop {tmp_path}/drop does not exist"
    assert "run it where enerflo_webhooks runs" in found["next_step"]


def test_a_drop_is_counted_and_nothing_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.json").write_text("{}")
    _, check = of_the_drop(run, monkeypatch, str(drop))
    assert (check["ok"], check["detail"]) == (True, f"1 file to ingest in {drop}")
    assert [path.name for path in tmp_path.rglob("*")] == ["drop", "a.json"]


@pytest.mark.parametrize(("hours", "files"), [(5, 1), (5, 2), (0.5, 2)])
def test_webhooks_that_nobody_ingests_are_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float, files: int
) -> None:
    """The DAG was never switched on: no run fails, and no other message is due."""
    drop = tmp_path / "drop"
    drop.mkdir()
    arrived = datetime.now(UTC) - timedelta(hours=hours)
    for number in range(files):
        (drop / f"{number}.json").write_text("{}")
        at = (arrived + timedelta(minutes=number)).timestamp()
        os.utime(drop / f"{number}.json", (at, at))
    code, check = of_the_drop(run, monkeypatch, str(drop))
    if hours < 1:
        assert check["ok"]
        return
    assert (code, check["ok"]) == (1, False)
    (found,) = check["findings"]
    assert found["severity"] == "warning"
    count = "1 file" if files == 1 else "2 files"
    assert found["found"] == f"{count} in the drop, of which the first arrived at {utc(arrived)}"
    assert "switch the DAG enerflo_webhooks on" in found["next_step"]


def test_an_archive_that_cannot_be_made_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "drop").mkdir(parents=True)
    (tmp_path / "in" / "archive").write_text("no folder")
    _, check = of_the_drop(run, monkeypatch, str(tmp_path / "in" / "drop"))
    (found,) = check["findings"]
    assert found["what"] == "accounts.default.webhook_archive_uri"
    assert found["found"] == (
        f"{tmp_path}/in/archive, which is no folder, or this user may not make files in it"
    )


def test_a_secret_in_the_address_of_a_drop_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_DROP_URI", "s3://key:topsecret@bucket/drop")
    run("migrate")
    result = run("doctor")
    assert "a user and password stand in the address" in result.out
    assert "topsecret" not in result.out + result.err


def test_an_account_without_webhooks_has_no_drop_to_look_at(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_the_drop(run, monkeypatch, "")[1] is None


def test_what_the_receiver_refused_is_told_with_the_answer_that_it_gave(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever entered a wrong secret in Enerflo sees no error there, and nothing in the drop."""
    drop = tmp_path / "drop"
    drop.mkdir()
    receiver = started(drop, tmp_path / "log")
    try:
        receiver.post(path="/hooks/default/not-the-secret")
        note = note_of(drop)
    finally:
        assert receiver.end() == 0
    code, check = of_the_drop(run, monkeypatch, str(drop))
    (found,) = check["findings"]
    assert (code, found["severity"], check["detail"]) == (1, "warning", f"0 files to ingest in {drop}")
    assert found["found"] == (
        f"since {utc(note.since)} the receiver refused 1 post (404: wrong account, secret or path),"
        f" last at {utc(note.last_at)}, and took none"
    )
    assert "Compare the address that stands in Enerflo" in found["next_step"]
    assert SECRET not in str(check)


@pytest.mark.parametrize(
    ("note", "severity"),
    [
        ({"took_any": True}, "hint"),
        ({"took_any": False}, "warning"),
        ({"took_any": False, "days": 9}, None),
        ({"took_any": False, "zone": ""}, None),
        (None, None),
    ],
    ids=["took others", "took none", "long ago", "no zone", "no note"],
)
def test_a_receiver_that_takes_posts_and_turns_strangers_away_is_no_warning(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    note: dict[str, Any] | None,
    severity: str | None,
) -> None:
    (tmp_path / NAME).write_text("no note")
    if note is not None:
        ago = datetime.now(UTC) - timedelta(days=note.get("days", 0), minutes=1)
        at = f"{ago:%Y-%m-%dT%H:%M:%S}{note.get('zone', 'Z')}"
        refused = {"unknown_hook": {"posts": 3, "last_at": at}}
        text = json.dumps({"since": at, "took_any": note["took_any"], "refused": refused})
        (tmp_path / NAME).write_text(text)
    _, check = of_the_drop(run, monkeypatch, str(tmp_path))
    assert [one["severity"] for one in check["findings"]] == ([severity] if severity else [])
