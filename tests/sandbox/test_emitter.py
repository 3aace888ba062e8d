from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.emitter import Delivery, Emitter, Fate, Mess
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.errors import RetriableError

from .conftest import asking

MESSY = Mess(loss=0.1, duplicate=0.2, delay=0.2, longest_delay=timedelta(hours=1), reorder=0.2)


class Kept:
    """A target that keeps what it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.broken = False

    def send(self, body: bytes, headers: Mapping[str, str]) -> str:
        if self.broken:
            raise RetriableError("the target is down.")
        self.bodies.append(body)
        self.headers.append(headers)
        return str(len(self.bodies))

    def flush(self) -> frozenset[str]:
        return frozenset()


def lived(
    mess: Mess, *, seed: int = 1, events: int = 300, noise: float = 0.0
) -> tuple[Emitter, Kept, list[Delivery]]:
    world, target = World(150, 7), Kept()
    emitter = Emitter(world, seed, mess, target, noise=noise)
    emitter.watch()
    ended: list[Delivery] = []
    for _ in range(events // 10):
        world.step(10, 10)
        ended += emitter.deliver_due()
    while emitter.next_due is not None:
        pause = (emitter.next_due - world.now()).total_seconds()
        world.clock.sleep(max(0.001, pause))
        ended += emitter.deliver_due()
    assert emitter.pending == 0
    return emitter, target, ended


def test_a_calm_mess_delivers_each_event_once_in_order_at_once() -> None:
    emitter, target, ended = lived(Mess())
    assert len(ended) == emitter.events == len(target.bodies)
    assert len({one.digest for one in ended}) > 0.95 * len(ended)
    assert {(one.fate, one.copies, one.late, one.reordered) for one in ended} == {
        (Fate.SENT, 1, False, False)
    }
    assert [one.happened_at for one in ended] == sorted(one.happened_at for one in ended)
    assert {headers["content-type"].split(";")[0] for headers in target.headers} == {"application/json"}
    created = [
        json.loads(body)["payload"]["customer"] for body in target.bodies if b"customer.created" in body
    ]
    assert len(created) > 5
    assert all(one.get("firstName") for one in created)


@pytest.mark.parametrize("mess", [Mess(), MESSY])
def test_one_seed_gives_the_same_bytes_in_the_same_order(mess: Mess) -> None:
    first, again, other = lived(mess), lived(mess), lived(mess, seed=2)
    assert first[1].bodies == again[1].bodies
    assert first[2] == again[2]
    assert first[1].bodies != other[1].bodies


def test_another_mess_tells_the_same_events() -> None:
    messy = Mess(loss=0.3, delay=0.3, reorder=0.3)
    _, _, calm_ended = lived(Mess())
    _, _, messy_ended = lived(messy)
    assert Counter(one.digest for one in messy_ended) == Counter(one.digest for one in calm_ended)


def test_loss_happens_at_its_rate_and_is_listed() -> None:
    emitter, target, ended = lived(Mess(loss=0.2), events=1000)
    lost = [one for one in ended if one.fate is Fate.LOST]
    assert 0.15 < len(lost) / emitter.events < 0.25
    assert len(target.bodies) == len(ended) - len(lost)
    assert all(one.sent_at is None and one.ids for one in lost)
    assert sum(n for (_, fate), n in emitter.counts.items() if fate is Fate.LOST) == len(lost)


def test_duplicates_happen_at_their_rate_with_the_same_bytes() -> None:
    emitter, target, ended = lived(Mess(duplicate=0.3), events=1000)
    usual = [one for one in ended if one.copy == 1 and one.event != "customer.created"]
    assert 0.25 < sum(one.copies > 1 for one in usual) / len(usual) < 0.35
    assert {one.copies for one in usual} == {1, 2, 3}
    sent = Counter(target.bodies)
    assert Counter(sent.values()).keys() >= {1, 2, 3}
    first = {one.digest: one.due_at for one in ended if one.copy == 1}
    gaps = [(one.due_at - first[one.digest]).total_seconds() for one in ended if one.copy > 1]
    assert 0.7 < sum(gap <= 2 for gap in gaps) / len(gaps) < 0.9
    assert 15 < max(gaps) <= 90
    assert len(ended) == emitter.events + sum(one.copy > 1 for one in ended)


def test_customer_created_always_stutters_where_there_are_duplicates() -> None:
    world, target = World(20, 7), Kept()
    emitter = Emitter(world, 1, Mess(duplicate=0.001), target, noise=0)
    emitter.watch()
    for _ in range(40):
        world.add_lead({}, None)
    ended = emitter.drain()
    whole = [json.loads(body)["payload"]["customer"] for body in target.bodies if b"customer.created" in body]
    empty = [one for one in whole if not one.get("firstName")]
    repeated = {o.copies for o in ended if o.event == "customer.created" and o.copy == 1}
    assert 2 in repeated
    assert empty
    assert len(whole) - len(empty) >= 80


def test_delay_happens_at_its_rate_within_its_bound() -> None:
    emitter, _, ended = lived(Mess(delay=0.3, longest_delay=timedelta(minutes=30)), events=1000)
    late = [one for one in ended if one.late]
    assert 0.25 < len(late) / emitter.events < 0.35
    waits = [one.due_at - one.happened_at for one in late]
    assert timedelta(seconds=1) <= min(waits)
    assert timedelta(minutes=25) < max(waits) <= timedelta(minutes=31)
    assert all(one.sent_at is not None and one.sent_at >= one.due_at for one in late)


def test_reordered_events_are_overtaken_by_a_younger_one() -> None:
    emitter, _, ended = lived(Mess(reorder=0.2), events=1000)
    swapped = [at for at, one in enumerate(ended) if one.reordered]
    assert 0.15 < len(swapped) / emitter.events < 0.25
    overtaken = 0
    order = {one.digest: at for at, one in enumerate(lived(Mess(), events=1000)[2])}
    for at in swapped:
        mine = order[ended[at].digest]
        overtaken += any(order[other.digest] > mine for other in ended[max(0, at - 12) : at])
    assert overtaken > 0.95 * len(swapped)


def test_a_held_event_comes_by_itself_when_no_other_follows() -> None:
    world, target = World(20, 7), Kept()
    emitter = Emitter(world, 1, Mess(reorder=1), target, noise=0)
    emitter.watch()
    world.set_status(world.install_id(3), 4)
    world.set_status(world.install_id(3), 1301)
    held = emitter.pending
    assert emitter.deliver_due() == []
    world.clock.sleep(61)
    assert len(emitter.deliver_due()) == held > 0


def test_a_late_copy_shows_the_record_as_it_was() -> None:
    world, target = World(20, 7), Kept()
    emitter = Emitter(world, 1, Mess(delay=1), target, noise=0)
    emitter.watch()
    install_id = world.install_id(3)
    for status in (4, 323, 1301, 1304):
        world.set_status(install_id, status)
    assert emitter.deliver_due() == []
    world.clock.sleep(601)
    emitter.deliver_due()
    bodies = [json.loads(body) for body in target.bodies]
    statuses = [body["status"]["id"] if "status" in body else body["status_id"] for body in bodies]
    assert sorted(statuses) == sorted((4, 323, 1301, 1304))
    assert statuses != [4, 323, 1301, 1304]


def test_emit_tells_given_changes_and_muted_tells_nothing() -> None:
    world, target = World(50, 7), Kept()
    emitter = Emitter(world, 1, Mess(), target, noise=0)
    changes = world.step(10, 5, [ChangeKind.STATUS_CHANGED])
    assert emitter.emit(changes) == len(changes)
    assert len(emitter.deliver_due()) == len(changes)
    emitter.watch()
    with world.lock, emitter.muted():
        world.step(10, 5, [ChangeKind.STATUS_CHANGED])
    assert (emitter.pending, len(target.bodies)) == (0, len(changes))
    world.step(10, 1, [ChangeKind.STATUS_CHANGED])
    assert emitter.pending > 0


def test_a_write_by_the_api_comes_back_as_an_event() -> None:
    world, target = World(20, 7), Kept()
    emitter = Emitter(world, 1, Mess(), target, noise=0)
    emitter.watch()
    install_id = world.install_id(3)
    asking(SandboxApi(world))("POST", f"/api/v3/installs/{install_id}/notes", {"note": "by us"})
    (one,) = emitter.deliver_due()
    assert (one.event, one.ids["install_id"]) == ("new_install_note", install_id)
    assert json.loads(target.bodies[0])["note"] == "by us"


def test_what_the_target_refuses_is_failed_for_good() -> None:
    world, target = World(20, 7), Kept()
    emitter = Emitter(world, 1, Mess(), target, noise=0)
    emitter.watch()
    target.broken = True
    world.set_status(world.install_id(3), 4)
    (one,) = emitter.deliver_due()
    assert (one.fate, one.sent_at, emitter.pending) == (Fate.FAILED, None, 0)
    target.broken = False
    assert emitter.drain() == []
    assert emitter.counts == {("update_install", Fate.FAILED): 1}


def test_noise_comes_at_its_share_and_concerns_no_install_event() -> None:
    _, target, ended = lived(Mess(), events=600, noise=0.5)
    noisy = {
        *("new_appointment", "update_appointment", "new_survey", "update_survey"),
        *("new_note", "new_design_request", "deal.created"),
    }
    by_change: dict[object, set[str]] = defaultdict(set)
    for one in ended:
        by_change[one.happened_at, one.ids.get("install_id"), one.ids.get("customer_id")].add(one.event)
    assert noisy <= {one.event for one in ended}
    share = sum(bool(names & noisy) for names in by_change.values()) / len(by_change)
    assert 0.35 < share < 0.65
    assert len(target.bodies) == len(ended)


def test_time_is_the_clocks_own() -> None:
    world, clock = World(20, 7), VirtualClock(World(0, 7).now())
    emitter = Emitter(world, 1, replace(Mess(), delay=1.0), Kept(), clock, noise=0)
    emitter.watch()
    world.set_status(world.install_id(3), 4)
    world.clock.sleep(10_000)
    assert emitter.deliver_due() == []
    clock.advance(10_000)
    assert len(emitter.deliver_due()) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": 1.1}, "loss is a share"),
        ({"reorder": -0.1}, "reorder is a share"),
        ({"longest_delay": timedelta(0)}, "longest_delay is 1 second"),
    ],
)
def test_a_mess_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mess(**wrong)  # type: ignore[arg-type]
