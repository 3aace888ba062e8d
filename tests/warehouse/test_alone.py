"""One plan or apply of an account at a time, and the next one at once when that has ended."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import RetriableError
from enerflo_sync.warehouse.alone import alone


def test_a_second_one_is_told_to_wait_and_another_account_is_not(warehouse: sa.Engine) -> None:
    with warehouse.connect() as one, warehouse.connect() as another, alone(one, "default"):
        with (
            pytest.raises(RetriableError, match="another plan or apply is running"),
            alone(another, "default"),
        ):
            pass
        with alone(another, "other"), alone(another, "default", "check of change orders"):
            pass


def test_the_same_session_may_enter_again_and_keeps_the_lock_till_its_first_end(
    warehouse: sa.Engine,
) -> None:
    with warehouse.connect() as one, warehouse.connect() as another:
        with alone(one, "default"):
            with alone(one, "default"):
                pass
            with pytest.raises(RetriableError), alone(another, "default"):
                pass
        with alone(another, "default"):
            pass


def test_who_waits_goes_on_when_the_other_has_ended(warehouse: sa.Engine) -> None:
    entered = threading.Event()

    def second() -> None:
        with warehouse.connect() as another, alone(another, "default", wait=True):
            entered.set()

    thread = threading.Thread(target=second)
    with warehouse.connect() as one, alone(one, "default"):
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(20)
    thread.join()


def test_the_lock_is_given_back_before_the_session_goes(warehouse: sa.Engine) -> None:
    """The server notices a closed session only later, when the next command may have been told to wait."""
    said: list[str] = []
    sa.event.listen(warehouse, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))
    with warehouse.connect() as connection, alone(connection, "default"):
        assert not any("pg_advisory_unlock" in statement for statement in said)
    assert "pg_advisory_unlock" in said[-1]


def lose_the_session_with_the_lock(warehouse: sa.Engine) -> None:
    with warehouse.connect() as other:
        query = (
            "select pg_terminate_backend(pid) from pg_locks"
            " where locktype = 'advisory' and pid <> pg_backend_pid()"
        )
        other.execute(sa.text(query))


def test_a_session_that_is_lost_when_all_is_done_is_no_error(warehouse: sa.Engine) -> None:
    with warehouse.connect() as one:
        with alone(one, "default"):
            lose_the_session_with_the_lock(warehouse)
        with one.begin():
            assert one.scalar(sa.text("select 1")) == 1


def test_a_session_that_is_lost_with_an_outer_lock_does_not_go_on(warehouse: sa.Engine) -> None:
    with (
        warehouse.connect() as one,
        pytest.raises(sa.exc.OperationalError),
        alone(one, "default"),
    ):
        with alone(one, "default", "inner job", wait=True):
            lose_the_session_with_the_lock(warehouse)
        raise AssertionError("it went on without the outer lock")


def test_of_a_session_that_is_lost_with_its_work_the_works_error_is_told(warehouse: sa.Engine) -> None:
    with (
        warehouse.connect() as one,
        pytest.raises(ValueError, match="of the work"),
        alone(one, "default"),
        alone(one, "default", "inner job"),
    ):
        lose_the_session_with_the_lock(warehouse)
        raise ValueError("of the work")
