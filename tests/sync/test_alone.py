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


def test_the_next_one_need_not_wait_for_the_session_to_go(warehouse: sa.Engine) -> None:
    for _ in range(200):
        with alone(warehouse, "default"):
            pass
