"""Which bodies of events are emptied, and which files of the archive go: each reason to keep one, and its absence."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.retention import Kept
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.resources.customers import CUSTOMERS, customer_of
from enerflo_sync.resources.fingerprint import stable_bytes
from enerflo_sync.retention import archive, bodies
from enerflo_sync.retention.archive import ArchiveSweep
from enerflo_sync.retention.bodies import BodiesSweep
from tests.retention.rows import (
    BEFORE,
    BOUND,
    DAY,
    MOMENT,
    NOW,
    OLD,
    RECENT,
    Row,
    noted,
    put_worlds,
    rows_of,
    scope_of,
    swept,
    total,
)

ACCOUNT = "one"
TOLD, NEWER = "update_customer", "new_customer"
OPEN = {"item_id": "i", "state": "open"}
Event = dict[str, Any]


def event(name: str = "target", **values: Any) -> Row:
    row: Event = {"event_id": name, "event": "update_install", "received_at": OLD, "state": "applied"}
    row |= {"source_uri": f"a/{name}", "body": {"name": name}}
    return "sync.webhook_events", {**row, **values}


def told(name: str = "target", **values: Any) -> Row:
    """An event whose payload is what the mirror knows of a record."""
    return event(name, **{"event": TOLD, "record": "customers/7", **values})


def newer(**values: Any) -> Row:
    return told("newer", **{"event": NEWER, "received_at": RECENT, **values})


def item(**values: Any) -> Row:
    return "sync.quarantine", {**OPEN, **values}


def design(**values: Any) -> Row:
    row = {"deal_id": "d", "event": "update_install", "evidence": "a/target", "content_hash": "h"}
    return "enerflo.submissions", {**row, **values}


CUSTOMER = {"webhook_event": TOLD, "id": 7, "first_name": "Ann"}


def digest_of(body: Event) -> bytes:
    stable = customer_of(body)
    assert stable is not None
    return CUSTOMERS.digest(stable_bytes(stable))


def customer(body: Event, **values: Any) -> Row:
    row = {"customer_id": 7, "raw_hash": digest_of(body), "observed_at": NOW}
    return "enerflo.customers", {**row, **values}


STAYS: dict[str, list[Row]] = {
    "it waits": [event(state="received")],
    "it came at the bound": [event(received_at=BEFORE)],
    "an open item names it": [event(), item(key={"event_id": "target"})],
    "an open item was read from its file": [event(), item(evidence_uri="a/target")],
    "a design was signed by it": [event(deal_id="d"), design()],
    "nothing newer is known": [told()],
    "nothing newer is known of the install": [told(event="signed_change_order", install_id=5)],
    **{
        f"a newer one {why}": [told(), newer(**values)]
        for why, values in {
            "is not applied": {"state": "ignored"},
            "is empty, too": {"body": None},
            "is of another record": {"record": "customers/8"},
            "of an install is no such payload": {"event": "update_install"},
            "names an install": {"install_id": 5},
            "came before": {"received_at": OLD - MOMENT},
        }.items()
    },
    "a newer one names no install": [told(install_id=5), newer()],
    "a newer one names another install": [told(install_id=5), newer(install_id=6)],
    "a smaller one of that moment": [told("target"), newer(event_id="a", received_at=OLD)],
    "the mirror's row comes from it": [told(record=None, body=CUSTOMER), customer(CUSTOMER)],
}
GOES: dict[str, list[Row]] = {
    **{f"it was {state}": [event(state=state)] for state in ("applied", "ignored", "quarantined")},
    "it came just before the bound": [event(received_at=BEFORE - MOMENT)],
    "its item was dismissed": [event(), item(key={"event_id": "target"}, state="dismissed")],
    "its file's item was replayed": [event(), item(evidence_uri="a/target", state="replayed")],
    "an open item names another one": [event(), item(key={"event_id": "x"}, evidence_uri="a/x")],
    "a design was signed for another deal": [event(deal_id="e"), design()],
    "a design was signed by another kind": [event(deal_id="d"), design(event="x")],
    "a design was signed by another file": [event(deal_id="d"), design(evidence="a/x")],
    "something newer is known": [told(), newer()],
    "something newer is known of the install": [told(install_id=5), newer(install_id=5)],
    "a larger one of that moment": [told("target"), newer(event_id="z", received_at=OLD)],
    "it names no record": [told(record=None)],
    "the mirror's row comes from another one": [
        told(record=None, body=CUSTOMER),
        customer({**CUSTOMER, "first_name": "Bob"}),
    ],
    "the row of another customer is alike": [told(record=None, body=CUSTOMER), customer(CUSTOMER, customer_id=8)],
    "the mirror's row does not say": [told(record=None, body=CUSTOMER), customer(CUSTOMER, raw_hash=None)],
    "its payload cannot be read": [told(record=None, body={**CUSTOMER, "id": "x"}), customer(CUSTOMER)],
    "its payload is of another kind": [event(body=CUSTOMER), customer(CUSTOMER)],
}  # fmt: skip
# The other event of these is older, and told of by the target.
BOTH = {"stays: a newer one came before", "stays: a smaller one of that moment"}
WORLDS = {f"stays: {n}": rows for n, rows in STAYS.items()} | {f"goes: {n}": rows for n, rows in GOES.items()}


def test_a_body_goes_unless_something_needs_it(warehouse: sa.Engine) -> None:
    # An event that is empty already is none of these.
    empty = event("empty", body=None)
    put_worlds(warehouse, {name: [*rows, empty] for name, rows in WORLDS.items()})
    sizes = {
        (account, name): size
        for account, name, size in rows_of(
            warehouse, "select account, event_id, pg_column_size(body) from sync.webhook_events"
        )
    }
    looked = {name: swept(warehouse, BodiesSweep(), Kept.WEBHOOK_BODIES, name, dry=True) for name in WORLDS}
    assert rows_of(warehouse, "select * from sync.webhook_events where pruned_at is not null") == []
    gone = {name: swept(warehouse, BodiesSweep(), Kept.WEBHOOK_BODIES, name) for name in WORLDS}
    assert gone == looked
    emptied = rows_of(
        warehouse,
        "select account, event_id, body is null, pruned_at from sync.webhook_events"
        " where body is null or pruned_at is not null",
    )
    for name in WORLDS:
        lost = [one for account, one, _, at in emptied if account == name and at is not None]
        assert ("target" in lost) == name.startswith("goes"), name
        assert {row[2:] for row in emptied if row[0] == name and row[1] in lost} <= {(True, NOW)}, name
        wanted = (len(lost), sum(sizes[name, one] for one in lost))
        assert total(gone[name]) == wanted, name
        assert noted(warehouse).get((name, "webhook_bodies"), (0, 0))[:2] == wanted, name
        assert lost in ([], ["target"]) or name in BOTH, name
    assert noted(warehouse)["goes: it was applied", "webhook_bodies"][2:] == (OLD, OLD, NOW, BOUND, BEFORE)


def test_bodies_go_in_batches_each_once(warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "EVENTS", 2)
    names = ("b", "a", "d", "c", "e")
    # One of one moment and kind after another, and a batch of which nothing goes.
    rows = [event(name) for name in names] + [event("f", event="a_kind"), event("g", received_at=OLD + DAY)]
    stood_on = [{**CUSTOMER, "id": n} for n in range(1, 5)]
    rows += [told(f"{n}", record=None, body=one, received_at=OLD + 2 * DAY) for n, one in enumerate(stood_on)]
    rows += [event("last", received_at=OLD + 3 * DAY)]
    put_worlds(warehouse, {ACCOUNT: [*rows, *(customer(one, customer_id=one["id"]) for one in stood_on)]})
    for dry in (True, False):
        found = swept(warehouse, BodiesSweep(), Kept.WEBHOOK_BODIES, ACCOUNT, dry=dry)
        assert [(one.rows, one.oldest, one.newest) for one in found] == [
            *((2, OLD, OLD), (2, OLD, OLD), (2, OLD, OLD)),
            *((1, OLD + DAY, OLD + DAY), (1, OLD + 3 * DAY, OLD + 3 * DAY)),
        ]


def test_an_event_that_somebody_changes_at_the_moment_is_left_to_the_next_run(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {ACCOUNT: [event("a"), event("b")]})
    with warehouse.connect() as other:
        other.execute(sa.text("select from sync.webhook_events where event_id = 'a' for update"))
        assert total(swept(warehouse, BodiesSweep(), Kept.WEBHOOK_BODIES, ACCOUNT, dry=True))[0] == 2
        assert total(swept(warehouse, BodiesSweep(), Kept.WEBHOOK_BODIES, ACCOUNT))[0] == 1
    found = "select event_id from sync.webhook_events where body is not null"
    assert rows_of(warehouse, found) == [("a",)]


def archived(folder: Path, **files: int) -> Path:
    """Make files of so many bytes in the archive; a name's last number is how many days before the bound."""
    for name, size in files.items():
        day = BEFORE - timedelta(days=int(name.rpartition("_")[2]))
        path = folder / "archive" / f"{day:%Y/%m/%d}" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (folder / "drop").mkdir(exist_ok=True)
    return folder / "drop"


@pytest.mark.parametrize("most", [1, 2, 3, 500])
def test_files_of_the_archive_go_but_for_those_of_open_items(
    warehouse: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(archive, "_FILES", most)
    place = archived(
        tmp_path, a_1=1, b_1=2, c_2=4, needed_2=8, part_3=16, moving_3=32, last_3=64, today_0=128
    )
    uri = {path.stem: str(path) for path in (tmp_path / "archive").rglob("*.json")}
    worlds: dict[str, list[Row]] = {
        ACCOUNT: [
            item(item_id="1", evidence_uri=uri["needed_2"]),
            item(item_id="2", evidence_uri=f"{uri['part_3']}#3"),
            item(item_id="3", evidence_uri=uri["a_1"], state="dismissed"),
            item(item_id="4", evidence_uri=None),
            ("sync.webhook_moves", {"move_id": "m", "files": {"x": ["digest", uri["moving_3"]]}}),
        ],
        # It has the same archive: what is needed of its files stays, too.
        "other": [
            item(item_id="1", evidence_uri=uri["b_1"]),
            item(item_id="2", evidence_uri=uri["c_2"], state="replayed"),
            ("sync.webhook_moves", {"move_id": "m", "files": {"x": ["digest", uri["last_3"]]}}),
        ],
    }
    put_worlds(warehouse, worlds)
    sweep = ArchiveSweep(lambda: open_drop(str(place)))
    looked = swept(warehouse, sweep, Kept.ARCHIVE, ACCOUNT, dry=True)
    assert all(Path(one).exists() for one in uri.values())
    gone = swept(warehouse, sweep, Kept.ARCHIVE, ACCOUNT)
    assert gone == looked
    assert total(gone) == (2, 1 + 4)
    assert sorted(name for name, path in uri.items() if Path(path).exists()) == [
        *("b_1", "last_3", "moving_3", "needed_2", "part_3", "today_0"),
    ]
    days = (BEFORE - timedelta(days=2), BEFORE - timedelta(days=1))
    assert (min(one.oldest or NOW for one in gone), max(one.newest or OLD for one in gone)) == days
    assert noted(warehouse)[ACCOUNT, "archive"] == (2, 5, *days, NOW, BOUND, BEFORE)
    assert swept(warehouse, sweep, Kept.ARCHIVE, ACCOUNT) == []


def test_a_file_that_goes_is_noted_before_it_is_gone(warehouse: sa.Engine, tmp_path: Path) -> None:
    place = open_drop(str(archived(tmp_path, a_1=1)))

    class Broken:
        def archived(self, before: Any) -> Any:
            return place.archived(before)

        def remove(self, uris: list[str]) -> None:
            raise OSError(uris)

    with warehouse.connect() as connection, pytest.raises(OSError, match="a_1"):
        broken: Any = Broken()
        list(ArchiveSweep(lambda: broken).batches(connection, scope_of(Kept.ARCHIVE, ACCOUNT)))
    assert noted(warehouse)[ACCOUNT, "archive"][0] == 1


def test_without_a_drop_no_file_goes(warehouse: sa.Engine) -> None:
    assert swept(warehouse, ArchiveSweep(lambda: None), Kept.ARCHIVE, ACCOUNT) == []
