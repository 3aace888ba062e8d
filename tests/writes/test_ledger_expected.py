"""What somebody expects of the chain of seals is a digest, and says something."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.ledger import run_ledger_check, run_seal
from tests.writes.conftest import Desk
from tests.writes.test_ledger_seals import COLUMNS, written


@pytest.mark.parametrize("expected", ["", " ", "abc", "not a digest"])
def test_an_empty_expectation_is_no_all_clear(agreed: Desk, expected: str) -> None:
    written(agreed)
    with pytest.raises(ConfigurationError, match="no digest of a seal"):
        run_ledger_check(agreed.context, expected=expected)


def test_a_role_that_reads_one_moment_only_seals_no_row_too_early(agreed: Desk) -> None:
    first = written(agreed)[0]
    sealed = run_ledger_check(agreed.context).rows
    name = agreed.engine.url.database
    copied = sa.text(
        f"insert into sync.ledger ({COLUMNS}) select {COLUMNS} from sync.ledger where ledger_id = :id"
    )
    agreed.sql(f"alter database \"{name}\" set default_transaction_isolation = 'repeatable read'")
    agreed.engine.dispose()
    with agreed.engine.connect() as late:
        late.execute(copied, {"id": first})
        with agreed.engine.begin() as other:
            other.execute(copied, {"id": first})

        def commit_late(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
            if "whether somebody is writing it" in statement:
                late.commit()

        sa.event.listen(agreed.engine, "before_cursor_execute", commit_late)
        run_seal(agreed.context)
        sa.event.remove(agreed.engine, "before_cursor_execute", commit_late)
    run_seal(agreed.context)
    found = run_ledger_check(agreed.context)
    assert (found.rows, found.broken, found.unsealed) == (sealed + 2, 0, 0)
