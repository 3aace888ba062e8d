"""One plan or apply of an account at a time, and the next one at once when that has ended."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import RetriableError
from enerflo_sync.sync.plan import alone


def test_a_second_one_is_told_to_wait_and_another_account_is_not(warehouse: sa.Engine) -> None:
    with alone(warehouse, "default"):
        with (
            pytest.raises(RetriableError, match="another plan or apply is running"),
            alone(warehouse, "default"),
        ):
            pass
        with alone(warehouse, "other"):
            pass


def test_the_lock_is_given_back_before_the_session_goes(warehouse: sa.Engine) -> None:
    """The server notices a closed session only later, when the next command may have been told to wait."""
    said: list[str] = []
    sa.event.listen(warehouse, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))
    with alone(warehouse, "default"):
        assert not any("pg_advisory_unlock" in statement for statement in said)
    assert "pg_advisory_unlock" in said[-1]


def test_a_session_that_is_lost_meanwhile_is_no_further_error(warehouse: sa.Engine) -> None:
    with alone(warehouse, "default"), warehouse.connect() as other:
        query = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
        other.execute(sa.text(query))
