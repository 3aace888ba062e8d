"""From files to ``sync.webhook_events``: each event once, each file archived once, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.drop import Content, open_drop
from enerflo_sync.inbox.local_drop import LocalDrop
from tests.inbox.conftest import Inbox, digest_of, ignored, packed, update_install

TODAY = date(2026, 3, 5)

MARK = "Zanzibar Quux"


def lines(*bodies: Any) -> bytes:
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies)


def test_an_event_is_a_row_with_the_contracts_columns(inbox: Inbox) -> None:
    body = update_install(12345, status={"name": "On Hold", "id": 4})
    inbox.drop({"received_at": "2026-03-01T10:00:00Z", "headers": {}, "body": body}, "in.json")
    report = inbox.take_in()
    assert (report.state, report.read, report.applied) == ("ok", 1, 1)
    (row,) = inbox.rows(
        "select account, event_id, event, install_id, deal_id, content_hash, received_at, source_uri, state,"
        " applied_at, copies, body::text from sync.webhook_events"
    )
    archived = str(inbox.archive / "2026/03/02/in.json")
    digest = digest_of(body)
    received = datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert row == (
        *("default", digest[:32], "update_install", 12345, None, digest, received, archived),
        *("received", None, 1, json.dumps(body, sort_keys=True, separators=(",", ":"))),
    )
    assert Path(archived).is_file()
    assert inbox.waiting() == []


def test_the_same_content_in_whatever_form_is_one_event_with_its_copies(inbox: Inbox) -> None:
    body = {"webhook_event": "new_note", "id": 1, "z": {"b": 1, "a": [2]}}
    other = {"z": {"a": [2], "b": 1}, "id": 1, "webhook_event": "new_note"}
    inbox.drop(body, "a.json")
    inbox.drop(json.dumps(other, indent=3).encode(), "b.json")
    inbox.drop(packed(lines(body, other)), "c.jsonl.gz")
    inbox.drop({"headers": {}, "body": json.dumps(other)}, "d.json")
    report = inbox.take_in()
    assert inbox.copies() == [5]
    assert (report.read, report.skipped, report.unchanged) == (5, 1, 4)
    inbox.drop(body, "e.json")
    assert inbox.take_in().unchanged == 1
    assert inbox.copies() == [6]
    assert len(inbox.archived()) == 5


def test_one_name_twice_with_one_content_keeps_both_files(inbox: Inbox) -> None:
    for _ in range(2):
        inbox.drop(ignored(1), "same.json")
        inbox.take_in()
    assert inbox.copies() == [2]
    assert len(inbox.archived()) == 2


def test_nothing_in_the_archive_is_overwritten_by_other_content(inbox: Inbox) -> None:
    contents = [json.dumps(ignored(number)).encode() for number in range(3)]
    for data in contents:
        inbox.drop(data, "same.json")
        inbox.take_in()
    kept = sorted(path.read_bytes() for path in inbox.archive.rglob("*.json"))
    assert kept == sorted(contents)
    uris = {Path(uri).read_bytes() for (uri,) in inbox.rows("select source_uri from sync.webhook_events")}
    assert uris == set(contents)


def test_large_files_of_one_name_and_one_beginning_are_all_kept(inbox: Inbox) -> None:
    contents = [b"x" * 70_000 + bytes([65 + at]) for at in range(3)]
    for data in contents:
        inbox.drop(data, "same.json")
        inbox.take_in(limits=Limits(69_000, 69_000))
    kept = sorted(path.read_bytes()[-1:] for path in inbox.archive.rglob("*.json"))
    assert kept == [b"A", b"B", b"C"]
    assert inbox.reasons() == {"file_too_large": 3}


def test_a_place_taken_since_the_crash_is_not_overwritten(inbox: Inbox) -> None:
    """Killed between commit and move; meanwhile another account archives a file under the same name."""

    class Killed(LocalDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            raise KeyboardInterrupt

    path = inbox.drop(ignored(1), "same.json")
    with pytest.raises(KeyboardInterrupt):
        inbox.take_in(drop=Killed(str(inbox.folder), str(inbox.archive)))
    other = inbox.archive / "2026/03/02/same.json"
    other.parent.mkdir(parents=True)
    other.write_bytes(b'{"of":"somebody else"}')
    assert path.exists()
    inbox.take_in()
    assert b'{"of":"somebody else"}' in [one.read_bytes() for one in inbox.archive.rglob("*.json")]
    assert len(inbox.archived()) == 2


def test_two_accounts_that_share_an_archive_keep_all_their_files(inbox: Inbox) -> None:
    """Both read before either moves: the names were free when they were chosen."""
    folders = [inbox.folder.parent / name for name in ("one", "two")]
    drops = []
    for folder in folders:
        folder.mkdir()
        (folder / "same.json").write_bytes(str(folder).encode())
        os.utime(folder / "same.json", (1_772_000_000,) * 2)
        drops.append(open_drop(str(folder)))
    assert drops[0].archive_uri == drops[1].archive_uri
    found = []
    for drop in drops:
        (content,) = drop.read(list(drop.waiting()), 1_000)
        assert isinstance(content, Content)
        found.append((drop, content, drop.archive_name(content, TODAY)))
    for drop, content, name in found:
        drop.move(content, name)
    left = [path.read_bytes() for path in inbox.folder.parent.rglob("*.json")]
    assert sorted(left) == sorted(str(folder).encode() for folder in folders)


def test_a_file_replaced_between_read_and_move_is_read_again(inbox: Inbox) -> None:
    class Replacing(LocalDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            inbox.drop(ignored(2), "new.tmp").rename(content.file.uri)
            return super().move(content, archived_uri)

    inbox.drop(ignored(1), "a.json")
    report = inbox.take_in(drop=Replacing(str(inbox.folder), str(inbox.archive)))
    assert report.state == "partial"
    assert "replaced after it was read" in str(report.reasons["incomplete"])
    assert inbox.waiting() == ["a.json"]
    assert inbox.take_in().state == "ok"
    ids = inbox.rows("select body->>'id', copies from sync.webhook_events order by 1")
    assert ids == [("1", 1), ("2", 1)]
    assert inbox.waiting() == []


def test_unfinished_files_are_left_alone(inbox: Inbox) -> None:
    names = [".hidden", "_SUCCESS", "~x.json", "x.json~", "x.json.tmp", "x.TMP", "x.part", "x.filepart"]
    names += ["x.crdownload", "x.json.tmp-91", ".sub/x.json", "x.swp", "x.lock", "#x#", "x.partial"]
    for name in names:
        inbox.drop(ignored(1), name)
    inbox.drop(ignored(2), "sub/deeper/x.json")
    report = inbox.take_in()
    assert report.read == 1
    assert inbox.archived() == ["sub/deeper/x.json"]
    assert inbox.waiting() == sorted(names)


def test_files_younger_than_the_settle_time_are_left_alone(inbox: Inbox) -> None:
    old, young = inbox.drop(ignored(1), "old.json"), inbox.drop(ignored(2), "young.json")
    now = datetime.now(UTC).timestamp()
    os.utime(old, (now - 60,) * 2)
    os.utime(young, (now - 2,) * 2)
    assert inbox.take_in(drop=open_drop(str(inbox.folder), settle_seconds=30)).read == 1
    assert inbox.waiting() == ["young.json"]


def test_all_bad_input_is_put_aside_with_its_reason_and_the_others_go_on(inbox: Inbox) -> None:
    """The issue's table; each file lies between two good ones."""
    big = b'{"webhook_event":"new_note","id":1,"x":"' + b"y" * 50_000_000 + b'"}'
    table: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "empty_file"),
        "truncated": (b'{"webhook_event":"update_ins', "truncated_json"),
        "deep": (b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}", "nested_too_deep"),
        "twice": (b'{"webhook_event":"update_install","id":1,"id":2}', "repeated_key"),
        "large": (big, "file_too_large"),
        "nul": (b'{"webhook_event":"update_install","id":1,"x":"\x00"}', "not_json"),
        "latin": ('{"webhook_event":"update_install","id":1,"x":"é"}'.encode("latin-1"), "not_utf8"),
        "type of event": (b'{"webhook_event":7,"id":1}', "missing_event_name at webhook_event"),
        "no event": (b'{"id":1}', "missing_event_name at webhook_event"),
        "type of id": (b'{"webhook_event":"update_install","id":{"a":1}}', "id_not_a_whole_number at id"),
        "no id": (b'{"webhook_event":"update_install"}', "missing_id at id"),
        "path": (b'{"webhook_event":"update_install","id":"../../x"}', "id_not_a_whole_number at id"),
        "path v2": (
            b'{"event":"deal.projectSubmitted","payload":{"deal":{"id":"../../x"}}}',
            "id_not_a_uuid at payload.deal.id",
        ),
        "no deal": (b'{"event":"deal.projectReceived","payload":[]}', "missing_id at payload.deal.id"),
        "65 bits": (
            b'{"webhook_event":"new_customer","id":36893488147419103232}',
            "id_not_a_whole_number at id",
        ),
        "64 bits": (
            b'{"webhook_event":"new_customer","id":9223372036854775808}',
            "id_not_a_whole_number at id",
        ),
        "negative": (b'{"webhook_event":"update_install","id":-4}', "id_not_a_whole_number at id"),
        "unknown": (b'{"webhook_event":"moon_landing","id":1}', "unknown_event at moon_landing"),
        "bomb": (packed(b"0" * 40_000_000), "too_large_unpacked"),
        "name": (b'{"webhook_event":"a\\nb","id":1}', "bad_event_name at webhook_event"),
    }
    for number, (name, (data, _)) in enumerate(table.items()):
        inbox.drop(ignored(2 * number), f"{name}-0.json")
        inbox.drop(data, f"{name}-1.json")
        inbox.drop(ignored(2 * number + 1), f"{name}-2.json")
    report = inbox.take_in(limits=Limits(32_000_000, 4_000_000))
    expected: dict[str, int] = {}
    for _, reason in table.values():
        expected[reason] = expected.get(reason, 0) + 1
    assert inbox.reasons() == expected
    assert (report.state, report.read) == ("partial", 3 * len(table))
    assert (report.skipped, report.quarantined) == (2 * len(table), len(table))
    assert report.reasons["quarantined"] == expected
    assert inbox.waiting() == []
    assert len(inbox.archived()) == 3 * len(table)
    evidence = {uri.partition("#")[0] for (uri,) in inbox.rows("select evidence_uri from sync.quarantine")}
    assert evidence == {str(inbox.archive / f"2026/03/02/{name}-1.json") for name in table}


def test_the_unknown_event_is_kept_with_its_body_and_counted(inbox: Inbox) -> None:
    body = {"webhook_event": "moon_landing", "id": 1, "x": "y"}
    inbox.drop(lines(body, body))
    inbox.drop({"event": "deal.exploded", "payload": {}})
    inbox.take_in()
    rows = inbox.rows("select event, state, copies, reason from sync.webhook_events order by 1")
    assert rows == [
        ("deal.exploded", "quarantined", 1, "unknown_event at deal.exploded"),
        ("moon_landing", "quarantined", 2, "unknown_event at moon_landing"),
    ]
    kept = json.loads(inbox.one("select body::text from sync.webhook_events where event = 'moon_landing'"))
    assert kept == body


def test_a_position_leads_to_the_line(inbox: Inbox) -> None:
    inbox.drop(lines(ignored(1), b"nope", ignored(2), b"no"), "x.jsonl")
    inbox.take_in()
    uris = [uri for (uri,) in inbox.rows("select evidence_uri from sync.quarantine order by 1")]
    assert [uri.rpartition("#")[2] for uri in uris] == ["1", "3"]
    assert inbox.states() == {"ignored": 2}


def test_html_and_sql_are_kept_verbatim(inbox: Inbox) -> None:
    text = "<img src=x onerror=alert(1)>'; drop schema sync cascade; -- %s {x} \\ \u2028 \U0001f600"
    body = {"webhook_event": "new_note", "id": 1, "note": text}
    inbox.drop(body)
    inbox.take_in()
    assert inbox.one("select body->>'note' from sync.webhook_events") == text


def test_an_escaped_nul_is_taken_out_and_said(inbox: Inbox) -> None:
    inbox.drop(b'{"webhook_event":"new_note","id":1,"x":"a\\u0000b"}')
    report = inbox.take_in()
    assert inbox.one("select body->>'x' from sync.webhook_events") == "ab"
    assert report.reasons["notice"] == {"nul_removed": 1}


def test_five_thousand_bad_lines_are_put_aside(inbox: Inbox) -> None:
    """A table of numbers that somebody exported into the drop: no line is an event."""
    inbox.drop(b"\n".join(b"install,%d,x" % number for number in range(5_100)), "export.csv")
    inbox.drop(ignored(1), "z.json")
    report = inbox.take_in()
    assert (report.quarantined, report.skipped) == (1, 1)
    assert inbox.reasons() == {"not_json": 1}


def test_of_very_many_bad_lines_the_first_ones_stand_for_all(inbox: Inbox) -> None:
    bad = [b"install,%d,x" % number for number in range(5_100)]
    inbox.drop(b"\n".join([*bad, json.dumps(ignored(1)).encode()]), "export.jsonl")
    report = inbox.take_in()
    assert (report.read, report.quarantined, report.skipped) == (5_101, 5_100, 1)
    assert inbox.reasons() == {"not_json": 100, "further_problems_in_the_file": 1}


def test_a_name_that_is_no_utf8_does_not_stop_the_others(inbox: Inbox) -> None:
    odd = os.fsencode(inbox.folder) + b"/caf\xe9.json"
    with open(odd, "wb") as file:
        file.write(json.dumps(ignored(1)).encode())
    inbox.drop(ignored(2), "good.json")
    report = inbox.take_in()
    assert report.skipped == 2
    assert inbox.waiting() == []


@pytest.mark.parametrize(
    "name", ["a b'c\"#1.json", "x\ny.json", "%2e%2e.json", "ü\U0001f600.json", "-rf", "x" * 240]
)
def test_odd_names_are_names(inbox: Inbox, name: str) -> None:
    inbox.drop(ignored(1), name)
    assert inbox.take_in().skipped == 1
    assert inbox.archived() == [name]


def test_a_sub_folder_without_permission_does_not_hold_the_others(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything: the refusal is the only thing that is made up.
    inbox.drop(ignored(1), "closed/a.json")
    inbox.drop(ignored(2), "open/b.json")
    real = os.scandir

    def scandir(folder: str) -> Any:
        if str(folder).endswith("/closed"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    report = inbox.take_in()
    assert report.skipped == 1
    assert report.state == "partial"


def test_a_sub_folder_that_vanishes_does_not_hold_the_others(inbox: Inbox) -> None:
    for name in ("a/1.json", "b/2.json", "c/3.json"):
        inbox.drop(ignored(1), name)
    waiting = inbox.place.waiting()
    found = [next(waiting).name]
    shutil.rmtree(inbox.folder / "b")
    found += [file.name for file in waiting]
    assert found == ["a/1.json", "c/3.json"]


def test_a_drop_that_vanished_is_one_clear_error(inbox: Inbox) -> None:
    shutil.rmtree(inbox.folder)
    with pytest.raises(ConfigurationError, match="does not exist") as caught:
        inbox.take_in()
    assert caught.value.where == "webhook_drop_uri"
    assert inbox.last_run()[0] == "failed"


def test_files_that_vanish_before_they_are_read_are_said_and_the_others_go_on(inbox: Inbox) -> None:
    class Vanishing(LocalDrop):
        def read(self, files: Any, limit: int) -> Any:
            (inbox.folder / "b.json").unlink()
            return super().read(files, limit)

    for name in "abc":
        inbox.drop(ignored(ord(name)), f"{name}.json")
    report = inbox.take_in(drop=Vanishing(str(inbox.folder), str(inbox.archive)))
    assert (report.state, report.skipped) == ("ok", 2)
    assert report.reasons["notice"]["vanished before it was read"] == 1


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type[OSError]], Callable[[], None]]:
    """Let one function of ``os`` refuse paths that end with a word. Root is refused nothing by itself."""

    def refuse(function: str, ending: str, number: int) -> Callable[[], None]:
        real = getattr(os, function)

        def refused(path: Any, *rest: Any, **more: Any) -> Any:
            if str(path).endswith(ending):
                raise OSError(number, os.strerror(number), path)
            return real(path, *rest, **more)

        monkeypatch.setattr(os, function, refused)
        return lambda: monkeypatch.setattr(os, function, real)

    return refuse  # type: ignore[return-value]


@pytest.mark.parametrize("number", [13, 30, 28, 5])
def test_a_file_that_cannot_be_moved_counts_once_and_is_moved_later(
    inbox: Inbox, refusing: Any, number: int
) -> None:
    allow = refusing("rename", "/b.json", number)
    for name in "abc":
        inbox.drop(ignored(ord(name)), f"{name}.json")
    for _ in range(2):
        report = inbox.take_in()
        assert report.state == "partial"
        assert inbox.waiting() == ["b.json"]
        assert inbox.copies() == [1, 1, 1]
    assert report.read == 0
    allow()
    assert inbox.take_in().state == "ok"
    assert inbox.waiting() == []
    assert inbox.archived() == ["a.json", "b.json", "c.json"]
    assert inbox.copies() == [1, 1, 1]
    assert inbox.one("select count(*) from sync.webhook_moves") == 0


def test_a_file_that_cannot_be_read_is_said_and_the_others_go_on(inbox: Inbox, refusing: Any) -> None:
    allow = refusing("open", "/b.json", 13)
    for name in "abc":
        inbox.drop(ignored(ord(name)), f"{name}.json")
    report = inbox.take_in()
    assert (report.state, report.skipped) == ("partial", 2)
    assert inbox.waiting() == ["b.json"]
    allow()
    assert inbox.take_in().state == "ok"
    assert inbox.copies() == [1, 1, 1]


def test_a_file_that_could_be_neither_moved_nor_read_again_counts_once(inbox: Inbox, refusing: Any) -> None:
    inbox.drop(ignored(1), "b.json")
    may_move = refusing("rename", "/b.json", 13)
    inbox.take_in()
    may_move()
    may_read = refusing("open", "/b.json", 13)
    inbox.take_in()
    may_read()
    inbox.take_in()
    assert inbox.waiting() == []
    assert inbox.copies() == [1]


def test_no_permission_for_the_archive_loses_nothing(inbox: Inbox) -> None:
    inbox.archive.write_bytes(b"a file where the folder should be")
    inbox.drop(ignored(1), "a.json")
    assert inbox.take_in().state == "partial"
    assert inbox.states() == {"ignored": 1}
    inbox.archive.unlink()
    assert inbox.take_in().state == "ok"
    assert inbox.copies() == [1]
    assert inbox.archived() == ["a.json"]


def test_archived_files_are_kept_for_the_retention_and_then_deleted(inbox: Inbox) -> None:
    inbox.drop(ignored(1), "old.json")
    inbox.take_in()
    inbox.clock.advance(timedelta(days=20).total_seconds())
    inbox.drop(ignored(2), "new.json")
    inbox.take_in(keep_archive=timedelta(days=30))
    assert inbox.archived() == ["new.json", "old.json"]
    inbox.clock.advance(timedelta(days=12).total_seconds())
    report = inbox.take_in(keep_archive=timedelta(days=30))
    assert inbox.archived() == ["new.json"]
    assert report.reasons["notice"] == {"archived, deleted by age": 1}
    assert inbox.states() == {"ignored": 2}


def test_a_file_of_an_old_date_is_kept_for_the_retention_too(inbox: Inbox) -> None:
    """A folder of last year's payloads, copied into the drop with its dates."""
    path = inbox.drop(b"what nobody can read", "old.json")
    long_ago = (inbox.clock.now() - timedelta(days=400)).timestamp()
    os.utime(path, (long_ago, long_ago))
    inbox.take_in(keep_archive=timedelta(days=365))
    assert inbox.archived() == ["old.json"]


def test_what_is_not_ours_in_the_archive_is_not_deleted(inbox: Inbox) -> None:
    for name in ("readme.txt", "2019/summary.txt", "2019/13/40/x", "old/01/01/x"):
        path = inbox.archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    inbox.take_in(keep_archive=timedelta(days=1))
    assert sum(path.is_file() for path in inbox.archive.rglob("*")) == 4


def test_a_name_that_is_a_folder_in_the_archive_is_archived(inbox: Inbox) -> None:
    inbox.drop(ignored(1), "b")
    inbox.take_in()
    (inbox.folder / "b").mkdir()
    inbox.drop(ignored(2), "b/c.json")
    assert inbox.take_in().state == "ok"
    assert inbox.waiting() == []


def test_two_ingests_at_a_time_take_each_event_once(inbox: Inbox) -> None:
    for number in range(60):
        inbox.drop(lines(ignored(number), ignored(number + 1)), f"{number:03}.json")
    threads = [threading.Thread(target=inbox.take_in) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inbox.copies() == [1] * 2 + [2] * 59
    assert len(inbox.archived()) == 60
    assert {run.state for run in inbox.runs} == {"ok"}


def test_many_files_go_in_batches(inbox: Inbox) -> None:
    for number in range(1_050):
        inbox.drop(ignored(number % 1_040), f"{number:05}.json")
    report = inbox.take_in(read_ahead=1)
    assert (report.read, report.skipped, report.unchanged) == (1_050, 1_040, 10)
    assert inbox.copies() == [1] * 1_030 + [2] * 10
    assert inbox.waiting() == []
    assert inbox.one("select count(*) from sync.webhook_moves") == 0


def test_declared_events_are_ignored(inbox: Inbox) -> None:
    inbox.drop({"webhook_event": "moon_landing", "id": 1})
    inbox.drop(update_install(5))
    names = frozenset({"moon_landing", "update_install"})
    assert inbox.take_in(limits=Limits(10**6, 10**6, names)).state == "ok"
    assert inbox.states() == {"ignored": 2}


def test_an_empty_drop_is_an_ok_run_without_requests(inbox: Inbox) -> None:
    report = inbox.ingest()
    assert (report.state, report.read, report.requests) == ("ok", 0, 0)


def test_nothing_of_a_payload_is_said(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for number, data in enumerate(
        [
            json.dumps(update_install(1, name=MARK)).encode(),
            f'{{"webhook_event":"update_install","id":"{MARK}"}}'.encode(),
            f'{{"webhook_event":["{MARK}"],"id":1}}'.encode(),
            f'{{"webhook_event":"new_customer","id":7,"id":8,"x":"{MARK}"}}'.encode(),
            f"{MARK} is not JSON".encode(),
            f'{{"x":"{MARK}"'.encode(),
            f'{{"received_at":"{MARK}","headers":{{"k":"{MARK}"}},"body":"{MARK}"}}'.encode(),
            packed(MARK.encode())[:-4],
        ]
    ):
        inbox.drop(data, f"{number}.json")
    report = inbox.take_in()
    assert report.quarantined == 7
    assert MARK not in caplog.text
    assert MARK not in repr(report)
    (row,) = inbox.rows("select reasons::text || resources::text from sync.runs")
    assert MARK not in row[0]
    reasons = inbox.rows("select reason from sync.quarantine union select reason from sync.webhook_events")
    assert MARK not in repr(reasons)
