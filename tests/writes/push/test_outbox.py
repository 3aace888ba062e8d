"""The outbox as a whole: order, what stops it, what waits, and that it says nothing of what is private."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Request
from enerflo_sandbox.world import World
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import RetriableError
from tests.writes.push.conftest import NewOutbox, Outbox


def test_nothing_to_do_asks_nothing(outbox: Outbox) -> None:
    before = sum(outbox.api.requests.values())
    report = outbox.push()
    assert (report.total, report.as_dict()["reasons"]) == (0, {})
    assert sum(outbox.api.requests.values()) == before


def test_changes_of_other_plans_directions_and_ends_are_left_alone(outbox: Outbox) -> None:
    install = outbox.install()
    outbox.status(install, "On Hold")
    outbox.status(install, "On Hold")
    outbox.status(install, "On Hold")
    outbox.sql("update sync.plan_changes set direction = 'to_crm' where position = 1")
    outbox.sql("update sync.plan_changes set state = 'parked' where position = 2")
    outbox.sql("update sync.plan_changes set plan_hash = 'p2' where position = 3")
    assert outbox.push().total == 0
    assert outbox.received() == []


def test_a_key_that_is_not_accepted_stops_everything_and_all_waits(outbox: Outbox) -> None:
    outbox.status(outbox.install(0), "On Hold")
    outbox.status(outbox.install(1), "On Hold")
    outbox.key = "not-the-key"
    with pytest.raises(AuthenticationError):
        outbox.push()
    assert outbox.states() == ["planned"] * 2


def test_a_key_that_is_withdrawn_between_read_and_write_leaves_the_change_planned(outbox: Outbox) -> None:
    outbox.status(outbox.install(), "On Hold")

    def withdraw(request: Request, world: World) -> None:
        if request.method == "PUT":
            outbox.api.keys = frozenset()

    outbox.api.before_request = withdraw
    with pytest.raises(AuthenticationError):
        outbox.push()
    assert outbox.states() == ["planned"]
    assert outbox.one("select sent_at from sync.plan_changes") is None


def test_three_records_in_a_row_out_of_reach_end_the_run_and_the_rest_waits(outbox: Outbox) -> None:
    for at in range(6):
        outbox.status(outbox.install(at), "On Hold")
    outbox.fault("503", "/api/v3/installs/*", 1, 99)
    report = outbox.push()
    assert (report.waiting, report.applied) == (6, 0)
    assert report.stopped is not None
    asked = {path for (_, path), _ in outbox.api.requests.items() if path.rsplit("/", 1)[1].isdigit()}
    assert len(asked) == 3
    outbox.no_faults()
    assert outbox.push().applied == 6


def test_a_limit_that_is_used_up_in_the_middle_leaves_the_rest_planned(outbox: Outbox) -> None:
    for at in range(4):
        outbox.status(outbox.install(at), "On Hold")
    path = f"/api/v3/installs/{outbox.install(1).install_id}"
    outbox.fault("429", path, 1, 99, "PUT")
    report = outbox.push()
    assert (report.applied, report.waiting) == (3, 1)
    assert outbox.states() == ["applied", "planned", "applied", "applied"]
    outbox.no_faults()
    assert outbox.push().applied == 1
    assert len(outbox.received()) == 4


def test_the_accounts_own_budget_is_waited_for_and_never_exceeded(new_outbox: NewOutbox) -> None:
    outbox = new_outbox(installs=12, limit=10)
    outbox.company.limit = 10
    for at in range(12):
        outbox.status(
            outbox.install(at), "On Hold" if outbox.install(at).status_name != "On Hold" else "Completed"
        )
    outbox.company.clock.advance(120)
    throttled = outbox.api.usage["sandbox-key"].refused
    began = outbox.company.clock.now()
    assert outbox.push(pause=0).applied == 12
    assert outbox.api.usage["sandbox-key"].refused == throttled
    assert (outbox.company.clock.now() - began).total_seconds() >= 60 * (36 / 10 - 1)


def test_no_transaction_is_open_while_a_request_is_under_way(outbox: Outbox) -> None:
    install = outbox.install()
    outbox.status(install, "On Hold")
    outbox.milestone(outbox.milestones(install.install_id)[0], "due_at", "2026-03-05T10:00:00Z")
    outbox.note("N1", install.install_id, "Call first")
    outbox.lead("L1")
    seen: list[int] = []

    def look(request: Request, world: World) -> None:
        seen.append(
            outbox.one(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and state like 'idle in transaction%' and pid <> pg_backend_pid()"
            )
        )

    outbox.api.before_request = look
    assert outbox.push().waiting == 0
    assert len(seen) > 8
    assert set(seen) == {0}


def test_a_change_is_marked_sent_before_its_request_goes_out(outbox: Outbox) -> None:
    outbox.status(outbox.install(), "On Hold")
    seen: list[list[str]] = []

    def look(request: Request, world: World) -> None:
        if request.method == "PUT":
            seen.append(outbox.states())

    outbox.api.before_request = look
    outbox.push()
    assert seen == [["sent"]]


def test_that_mark_is_on_disk_before_where_the_database_puts_others_there_later(outbox: Outbox) -> None:
    install = outbox.install()
    outbox.status(install, "On Hold")
    outbox.note("N1", install.install_id, "Call first")
    engine = outbox.company.warehouse
    with engine.connect() as connection:
        assert connection.exec_driver_sql("show synchronous_commit").scalar_one() == "off"
    marked: set[str] = set()

    def look(connection: sa.Connection) -> None:
        said = connection.exec_driver_sql("select state, accepted_id from sync.plan_changes").all()
        if any(row.state == "sent" or row.accepted_id is not None for row in said):
            marked.add(connection.exec_driver_sql("show synchronous_commit").scalar_one())

    sa.event.listen(engine, "commit", look)

    def stop_looking(request: Request, world: World) -> None:
        if request.method != "GET":
            sa.event.remove(engine, "commit", look)
            outbox.api.before_request = None

    outbox.api.before_request = stop_looking
    assert outbox.push().applied > 0
    assert marked == {"on"}


def test_two_pushes_of_one_account_do_not_write_at_once(
    outbox: Outbox,
) -> None:
    outbox.status(outbox.install(), "On Hold")
    inner: list[BaseException] = []

    def again(request: Request, world: World) -> None:
        if request.method == "PUT":
            with pytest.raises(RetriableError) as refused:
                outbox.push()
            inner.append(refused.value)

    outbox.api.before_request = again
    assert outbox.push().applied == 1
    assert len(inner) == 1
    assert len(outbox.received()) == 1


def test_reasons_and_logs_name_nobody(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    install = outbox.install(0).install_id
    outbox.note("N1", install, "Secret text", author="Zacharias")
    outbox.lead("L1", first_name="Zebulon", state="Neverland")
    outbox.lead("L2", first_name="Zebulon")
    outbox.answering("POST", f"/api/v3/installs/{install}/notes", 422)
    outbox.push()
    said = (
        caplog.text + " ".join(reason or "" for reason in outbox.reasons()) + str(outbox.runs[-1].as_dict())
    )
    assert "push_done" in said
    for secret in ("Secret", "Zacharias", "Zebulon", "Neverland", "jane.doe", "555"):
        assert secret not in said


def test_progress_counts_changes(outbox: Outbox) -> None:
    outbox.status(outbox.install(0), "On Hold")
    outbox.note("N1", outbox.install(1).install_id, "Call first")
    told: list[tuple[str, int, int | None]] = []
    outbox.push(progress=lambda *step: told.append(step))
    assert told == [("push", 1, 4), ("push", 4, 4)]


def test_a_table_that_is_not_mapped_is_refused(outbox: Outbox) -> None:
    outbox.note("N1", outbox.install().install_id, "Call first")
    outbox.status(outbox.install(), "On Hold")
    outbox.push(without=("notes",))
    assert outbox.states() == ["refused"] * 3 + ["applied"]


def test_nothing_is_written_to_an_install_of_which_enerflo_says_that_it_was_deleted(outbox: Outbox) -> None:
    gone, other = outbox.install(0), outbox.install(1)
    outbox.status(gone, "On Hold")
    outbox.status(other, "On Hold")
    path = f"/api/v3/installs/{gone.install_id}"
    shown = b'{"id": %d, "deleted_at": "2026-03-01 10:00:00"}' % gone.install_id
    outbox.answering("GET", path, 200, shown)
    outbox.push()
    assert outbox.states() == ["parked", "applied"]
    assert outbox.reasons()[0] == "not there: Enerflo says that the record was deleted."
    assert len(outbox.received("PUT")) == 1
