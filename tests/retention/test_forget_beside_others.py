"""``enerflo-sync forget`` beside jobs that run: what they had read before the receipt does not come back after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.forgotten import forgotten_of
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.rebuild.rebuild import JOB as REBUILD
from enerflo_sync.reconcile.observation import OBSERVATION
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTES
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.storing import storing
from tests.mirror.conftest import START
from tests.retention.test_forget import ADDRESS, FIRST, MOBILE, Person, found
from tests.retention.test_forget_events import plain
from tests.writes.conftest import Desk

__all__ = ["plain"]
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"


@contextmanager
def forgotten_meanwhile(person: Person) -> Iterator[list[BaseException]]:
    """Forget in a thread that waits for the block, and wait for it afterwards."""
    errors: list[BaseException] = []

    def forget() -> None:
        try:
            person.forget()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=forget)
    thread.start()
    until = time.monotonic() + 60
    while not person.desk.one(WAITING) and time.monotonic() < until:
        time.sleep(0.05)
    assert person.desk.one(WAITING) == 1
    yield errors
    thread.join(60)
    assert not thread.is_alive()


def test_a_page_that_was_read_before_and_is_stored_after_is_read_again(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values are new: what was erased does not contain them."""
    plain.edited(mobile=MOBILE.replace("1", "2"), address=f"2{ADDRESS}")
    prepare, done = Intake.prepare, []

    def then_forget(
        self: Intake,
        connection: sa.Connection,
        records: Iterable[bytes | memoryview],
        observation: Observation,
        **options: Any,
    ) -> Batch:
        batch = prepare(self, connection, records, observation, **options)
        if self.resource.name == "customers" and plain.customer in batch.changed and not done:
            done.append(plain.customer)
            plain.forget()
        return batch

    monkeypatch.setattr(Intake, "prepare", then_forget)
    run_poll(plain.desk.context, full=True)
    assert done
    assert found(plain.desk) == {}
    kept = plain.desk.sql("select mobile from enerflo.customers where customer_id = :i", i=plain.customer)
    assert [row["mobile"] for row in kept] == [None]


def test_raw_versions_that_are_stored_ahead_are_not_once_somebody_is_forgotten(plain: Person) -> None:
    desk = plain.desk
    raw = b'{"id": 987654, "customer": {"id": %d}, "updated_at": "2026-01-02T03:04:05Z"}' % plain.customer
    seen = Observation(desk.context.account, START, "poll", "poll:1")
    with desk.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lookups:
        batch = Intake(INSTALLS).prepare(lookups, [raw], seen, listed=True)
    assert batch.blocks[-1].rows == 1
    plain.forget()
    with desk.engine.begin() as connection:
        Intake(INSTALLS).keep_versions(connection, batch)
    assert desk.one("select count(*) from enerflo.install_versions where install_id = 987654") == 0
    # It is left to be stored with its row.
    assert batch.blocks[-1].rows == 1


def test_the_receipt_waits_for_a_page_that_is_being_stored(plain: Person) -> None:
    desk = plain.desk
    with desk.engine.connect() as connection, connection.begin() as transaction:
        storing(connection, desk.context.account)
        with forgotten_meanwhile(plain) as errors:
            # What is stored now is committed before the receipt, and erased.
            assert not forgotten_of(connection, desk.context.account)
            connection.execute(
                sa.text("update enerflo.customers set first_name = :name where customer_id = :id"),
                {"name": f"{FIRST}x", "id": plain.customer},
            )
            transaction.commit()
    assert errors == []
    assert found(desk) == {}


def test_nobody_is_forgotten_while_the_mirror_is_derived_again(plain: Person) -> None:
    desk = plain.desk
    with (
        desk.engine.connect() as connection,
        alone(connection, desk.context.account, REBUILD),
        pytest.raises(RetriableError, match="another rebuild is running, or a customer is being forgotten"),
    ):
        plain.forget()
    assert desk.one("select count(*) from sync.forgotten") == 0
    plain.forget()
    run_rebuild(desk.context, write=True)
    assert found(desk) == {}


def test_forgetting_waits_for_a_reconciliation(plain: Person) -> None:
    desk = plain.desk
    with ExitStack() as reconciling:
        connection = reconciling.enter_context(desk.engine.connect())
        reconciling.enter_context(alone(connection, desk.context.account, OBSERVATION))
        with forgotten_meanwhile(plain) as errors:
            assert desk.one("select count(*) from sync.forgotten") == 0
            reconciling.close()
    assert errors == []
    run_reconcile(desk.context, full=True)
    assert found(desk) == {}


def faulty(desk: Desk, resource: Any, record: bytes) -> Any:
    """Take in a record that cannot be read, and return what of it is kept."""
    seen = Observation(desk.context.account, START, "poll", "poll:1")
    with desk.engine.begin() as connection:
        intake = Intake(resource)
        batch = intake.take(connection, [record], seen)
    assert len(batch.rejected) == 1
    return batch.rejected[0].payload


def test_what_cannot_be_read_of_somebody_forgotten_is_not_kept(plain: Person) -> None:
    desk = plain.desk
    other = desk.one(
        "select max(customer_id) from enerflo.customers where customer_id <> :i", i=plain.customer
    )
    desk.world.add_note(plain.install, "Gate code 12")
    run_poll(desk.context)
    known = desk.one("select min(note_id) from enerflo.notes where install_id = :i", i=plain.install)
    assert known is not None
    said = f'"note": "Call {FIRST}", "created_at": "no time"'
    records = {
        "customer": (CUSTOMERS, f'{{"id": {plain.customer}, "first_name": "{FIRST}", "created": "no time"}}'),
        "note that names the install": (NOTES, f'{{"note_id": 99887766, "id": {plain.install}, {said}}}'),
        "known note that names nobody": (NOTES, f'{{"note_id": {known}, {said}}}'),
        "without an id": (NOTES, f'{{"id": {plain.install}, {said}}}'),
        "without an id either": (NOTES, f'{{"id": {plain.install}, "more": 1, {said}}}'),
    }
    plain.forget()
    before = desk.one("select count(*) from sync.quarantine")
    for name, (resource, record) in records.items():
        assert faulty(desk, resource, record.encode()) == b"", name
    # Each is an item of its own.
    assert desk.one("select count(*) from sync.quarantine") == before + len(records)
    assert found(desk) == {}
    theirs = f'{{"id": {other}, "first_name": "Kept", "created": "no time"}}'.encode()
    assert faulty(desk, CUSTOMERS, theirs) == theirs
    # A note of another install, and one of which nobody knows more.
    known = desk.one("select min(note_id) from enerflo.notes where install_id <> :i", i=plain.install)
    assert known is not None
    for note in (known, 99887755):
        theirs = f'{{"note_id": {note}, "note": "Kept", "created_at": "no time"}}'.encode()
        assert faulty(desk, NOTES, theirs) == theirs


def test_what_the_warehouse_refuses_of_somebody_forgotten_is_not_kept(plain: Person) -> None:
    desk = plain.desk
    plain.forget()
    raw = f'{{"id": {plain.customer}, "first_name": "{FIRST}"}}'.encode()
    with desk.engine.begin() as connection:
        batch = Intake(CUSTOMERS).refuse(connection, raw, Observation("default", START, "poll", "poll:1"))
    assert [item.payload for item in batch.rejected] == [b""]
    assert found(desk) == {}
