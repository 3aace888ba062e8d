"""Several customers are forgotten together as one after another would be, with one look through the archive."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from enerflo_sync.drop.drop import DropFile
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.forgotten_files import Theirs, TheirsTogether, erased_file
from enerflo_sync.jobs.forget import run_forget_customers
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.retention.forget import ForgetReports
from enerflo_sync.retention.forget_customer import CustomerErasure
from tests.inbox.conftest import update_install
from tests.retention.test_forget import EMAIL, FIRST, MOBILE, Person, found
from tests.retention.test_forget_archive import archived
from tests.retention.test_forget_events import arrived, body_of, plain
from tests.writes.conftest import Desk

__all__ = ["plain"]


def another(person: Person, **values: Any) -> Person:
    """A second customer, who was polled, too."""
    desk = person.desk
    state = next(
        one
        for one in map(desk.world.installs.get, desk.world.installs.live())
        if one.customer_id != person.customer and one.has_equipment
    )
    other = Person(desk, state.customer_id, state.install_id)
    other.edited(**values)
    run_poll(desk.context)
    return other


def forgotten(desk: Desk, *customers: int, write: bool = True) -> ForgetReports:
    return run_forget_customers(desk.context, customers, by="Pat", write=write)


def named(customer: int, pad: str = "x") -> bytes:
    body = {"webhook_event": "update_customer", "id": customer, "customer": {"first_name": FIRST, "pad": pad}}
    return msgspec.json.encode(body)


def test_the_archive_is_read_once_and_each_customer_has_a_receipt_of_their_own(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = plain.desk
    other = another(plain, first_name=FIRST, mobile="777-271-8281")
    arrived(
        desk,
        a=named(plain.customer),
        b=named(plain.customer) + b"\n" + named(other.customer),
        c=named(other.customer, "y"),
    )
    archived(plain, "d.json", b'{"mobile": "777-271-8281", ')
    archived(plain, "e.json", b'{"nobody": 1}')
    read: list[str] = []
    reading = LocalDrop.read

    def counted(self: LocalDrop, files: Sequence[DropFile], limit: int) -> Iterator[Any]:
        read.extend(file.key for file in files)
        return reading(self, files, limit)

    monkeypatch.setattr(LocalDrop, "read", counted)
    looked = forgotten(desk, plain.customer, other.customer, write=False)
    before = sorted(read)
    assert len(before) == len(set(before)) >= 5
    read.clear()
    done = forgotten(desk, plain.customer, other.customer)
    assert sorted(read) == before
    assert found(desk) == {}
    assert [report.counts["archive"] for report in done.customers] == [2, 3]
    assert [report.counts for report in looked.customers] == [report.counts for report in done.customers]
    receipts = {row["customer_id"]: row for row in desk.sql("select * from sync.forgotten")}
    assert {one.customer: receipts[one.customer]["install_ids"] for one in (plain, other)} == {
        plain.customer: [plain.install],
        other.customer: [other.install],
    }
    assert [receipts[report.customer_id]["counts"] for report in done.customers] == [
        report.counts for report in done.customers
    ]
    again = forgotten(desk, plain.customer, other.customer)
    assert [report.counts for report in again.customers] == [{}, {}]


def test_what_only_the_two_share_is_nobody_elses(plain: Person) -> None:
    """A couple with one address: of a file that names nobody, the address tells that it is one of the two."""
    desk = plain.desk
    other = another(plain, email=EMAIL)
    archived(plain, "a.json", b'{"webhook_event": "update_customer", "email": "' + EMAIL.encode())
    (alone,) = forgotten(desk, plain.customer, write=False).customers
    assert alone.shared
    done = forgotten(desk, plain.customer, other.customer)
    assert [report.shared for report in done.customers] == [[], []]
    assert found(desk) == {}


def test_a_customer_with_an_open_change_is_left_out_and_the_others_are_forgotten(plain: Person) -> None:
    desk = plain.desk
    other = another(plain)
    desk.carried()
    other.edited(mobile="777-161-8033")
    run_poll(desk.context)
    plan = desk.plan()
    assert plan.change_count
    done = forgotten(desk, other.customer, plain.customer, 987_654_321)
    assert [report.customer_id for report in done.customers] == [plain.customer]
    assert found(desk) == {}
    assert list(done.left_out) == [other.customer, 987_654_321]
    assert f"plan {plan.plan_hash[:12]}" in done.left_out[other.customer]
    assert "there is no customer 987654321." in done.left_out[987_654_321]
    assert [row["customer_id"] for row in desk.sql("select customer_id from sync.forgotten")] == [
        plain.customer
    ]
    desk.carried()
    with pytest.raises(ConfigurationError, match=r"there is no customer 987654321\."):
        forgotten(desk, 987_654_321)
    assert forgotten(desk, other.customer).left_out == {}


@pytest.mark.parametrize("step", ["count_files", "erase_rows"])
def test_it_goes_on_after_it_was_killed(plain: Person, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    desk = plain.desk
    other = another(plain, first_name=FIRST, mobile=MOBILE)
    arrived(desk, a=named(plain.customer), b=named(other.customer), c=body_of(desk, "update_customer"))
    own = getattr(CustomerErasure, step)

    def killed(self: CustomerErasure, *given: Any) -> None:
        if self.customer_id == other.customer:
            raise KeyboardInterrupt
        own(self, *given)

    with monkeypatch.context() as away:
        away.setattr(CustomerErasure, step, killed)
        with pytest.raises(KeyboardInterrupt):
            forgotten(desk, plain.customer, other.customer)
    # Nothing is stored of either of them any more.
    assert desk.one("select count(*) from sync.forgotten") == 2
    forgotten(desk, plain.customer, other.customer)
    assert found(desk) == {}
    assert desk.sql("select state from sync.runs where job = 'forget' order by started_at, run_id")[-1] == {
        "state": "ok"
    }


def test_a_hundred_are_one_run_and_the_next_are_another(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enerflo_sync.jobs.forget.TOGETHER", 1)
    other = another(plain, first_name=FIRST)
    done = forgotten(plain.desk, plain.customer, other.customer, plain.customer)
    assert [report.customer_id for report in done.customers] == [plain.customer, other.customer]
    assert len({report.run_id for report in done.customers}) == 2
    assert found(plain.desk) == {}


def some_text(random_: random.Random, customers: Sequence[int]) -> bytes:
    """A file of events, arrays, halves of events and events that name one and hold the value of another."""
    parts = []
    for _ in range(random_.randint(1, 4)):
        customer = random_.choice([*customers, 99])
        body = update_install(
            random_.choice([1, 2, 3, 77]),
            **({"customer": {"id": customer}} if random_.random() < 0.5 else {}),
            **({"note": f"to p{random_.choice(customers)}@canary.example"} if random_.random() < 0.5 else {}),
        )
        text = json.dumps([body, body] if random_.random() < 0.2 else body).replace("@", "\\u0040")
        parts.append(text[: random_.choice([len(text), len(text), 60])].encode())
    return random_.choice([b"\n", b"\n\n"]).join(parts)


@pytest.mark.parametrize("seed", range(300))
def test_a_file_is_erased_for_several_as_for_one_after_another(seed: int) -> None:
    random_ = random.Random(seed)
    customers = [5, 6, 7]
    each = [
        Theirs(
            Forgotten(frozenset({one}), frozenset({one - 4})),
            (),
            [f"p{one}@canary.example".encode()] if one != 7 else [],
            lambda body, one=one: body.get("customer", {}).get("id", one) != one,
        )
        for one in customers
    ]
    data = some_text(random_, customers)
    together = TheirsTogether.of(each)
    limits = {"most_file": 10**7, "most_event": random_.choice([100, 10**6])}
    new = erased_file(data, together, **limits)
    together.count(new is not None)
    expected: bytes | None = None
    for one in each:
        expected = erased_file(data if expected is None else expected, one, **limits) or expected
        if expected == b"":
            break
    whole = [one for one in each if erased_file(data, one, **limits) is not None]
    assert (new is None) == (not whole)
    if new and expected:
        assert new == expected
    assert [together.files[at] for at in range(3)] == [int(one in whole) for one in each]


def test_the_command_takes_a_file_of_numbers(plain: Person, tmp_path: Path) -> None:
    from enerflo_sync.cli.forget import _of_file

    path = tmp_path / "gone.csv"
    path.write_text("\ufeffcustomer_id\n5\n\n 6 \r\n")
    assert _of_file(path) == [5, 6]
    for wrong, line in (("5\n-6\n", 2), ("5\n6.0\n", 2), ("0\n", 1), ("5\ncustomer_id\n", 2), ("9" * 19, 1)):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match=rf"gone\.csv:{line}: the line is no customer's number"):
            _of_file(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        _of_file(tmp_path)
