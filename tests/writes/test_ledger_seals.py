"""The ledger is sealed by the jobs that write it, and what somebody changes in it by hand is found."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed import seal_check, seals
from enerflo_sync.agreed.seal_check import Break, LedgerCheck
from enerflo_sync.agreed.seals import note_rewritten, seal_ledger
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.ledger import run_ledger_check, run_seal
from tests.pages.counting import counted_statements
from tests.writes.conftest import Desk

COLUMNS = (
    "account, table_name, key, op, field, old_value, new_value, direction, policy, cause, rule, plan_hash,"
    " decision, decided_by, run_id, recorded_at"
)


def written(desk: Desk, count: int = 5) -> list[int]:
    """Apply changes of some installs, and return the ledger's rows, oldest first."""
    number = desk.one("select count(*) from sync.ledger")
    desk.sql(
        "update crm.installs set panel_count = 200 + :n, updated_at = now() where enerflo_install_id in"
        " (select enerflo_install_id from crm.installs order by 1 limit :count)",
        count=count,
        n=number,
    )
    desk.carried()
    run_seal(desk.context)
    return [row["ledger_id"] for row in desk.sql("select ledger_id from sync.ledger order by 1")]


def checked(desk: Desk, **more: Any) -> LedgerCheck:
    return run_ledger_check(desk.context, **more)


def kinds(found: LedgerCheck) -> list[tuple[Break, int | None]]:
    return [(place.kind, place.ledger_id) for place in found.places]


def by_hand(desk: Desk, statement: str, **values: Any) -> None:
    """Change the ledger as somebody with psql does."""
    assert desk.sql(f"{statement} returning account", **values)


def test_what_a_job_wrote_is_sealed_after_it(agreed: Desk, caplog: pytest.LogCaptureFixture) -> None:
    before = checked(agreed)
    with caplog.at_level(logging.INFO):
        rows = written(agreed)
    found = checked(agreed)
    assert (found.rows, found.unsealed, found.broken) == (len(rows), 0, 0)
    assert found.seals == before.seals + 1
    assert found.head is not None
    assert found.head != before.head
    assert any(f"head={found.head}" in line for line in caplog.messages if "ledger_sealed" in line)
    assert checked(agreed, expected=found.head[:12]).intact
    assert run_seal(agreed.context) == 0
    assert checked(agreed).seals == found.seals


@pytest.mark.parametrize("at_once", [10_000, 7])
def test_the_statements_of_a_check_grow_with_rows_and_not_with_seals(
    agreed: Desk, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_check, "AT_ONCE", at_once)
    written(agreed)
    with counted_statements() as before:
        checked(agreed)
    for _ in range(4):
        rows = written(agreed)
    with counted_statements() as after:
        found = checked(agreed)
    assert found.intact
    assert len(after) - len(before) == (0 if at_once > len(rows) else 4)
    by_hand(agreed, CHANGES["value"], id=rows[1])
    by_hand(agreed, CHANGES["value"], id=rows[-1])
    assert kinds(checked(agreed)) == [(Break.CHANGED, rows[1]), (Break.CHANGED, rows[-1])]


def test_a_persons_refusal_is_sealed_at_once(agreed: Desk) -> None:
    agreed.sql("update crm.installs set panel_count = 98, updated_at = now()")
    plan = agreed.plan()
    run_reject(agreed.context, plan.plan_hash, by="Pat", reason="not now")
    assert checked(agreed).unsealed == 0
    assert agreed.ledger(decision="refused") != []


CHANGES = {
    "value": "update sync.ledger set new_value = '1' where ledger_id = :id",
    "null": "update sync.ledger set old_value = null where ledger_id = :id",
    "who": "update sync.ledger set decided_by = 'Nobody' where ledger_id = :id",
    "when": "update sync.ledger set recorded_at = recorded_at + interval '1 microsecond' where ledger_id = :id",
    "recorded_as": "update sync.ledger set recorded_as = 'somebody' where ledger_id = :id",
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_changed_row_is_named(agreed: Desk, how: str) -> None:
    rows = written(agreed)
    by_hand(agreed, CHANGES[how], id=rows[-2])
    found = checked(agreed)
    assert kinds(found) == [(Break.CHANGED, rows[-2])]
    assert f"row {rows[-2]} (installs) was changed after seal" in found.places[0].text


def test_every_column_of_a_row_is_sealed(agreed: Desk) -> None:
    """A column that a later version adds belongs into the spelling, or the reason why it does not."""
    columns = {
        row["column_name"]
        for row in agreed.sql(
            "select column_name from information_schema.columns where table_name = 'ledger' and table_schema = 'sync'"
        )
    }
    assert {column for column in columns if f"l.{column}" not in seals.ROW_DIGEST} == set()


def test_a_removed_row_is_named_also_where_all_later_ones_went_with_it(agreed: Desk) -> None:
    rows = written(agreed)
    by_hand(agreed, "delete from sync.ledger where ledger_id = :id", id=rows[1])
    assert kinds(checked(agreed)) == [(Break.REMOVED, rows[1])]
    by_hand(agreed, "delete from sync.ledger where ledger_id > :id", id=rows[1])
    assert kinds(checked(agreed)) == [(Break.REMOVED, one) for one in rows[1:]]


def test_rows_that_changed_places_are_named(agreed: Desk) -> None:
    rows = written(agreed)
    agreed.sql("alter table sync.ledger alter ledger_id set generated by default")
    agreed.sql("update sync.ledger set ledger_id = -1 where ledger_id = :a", a=rows[0])
    agreed.sql("update sync.ledger set ledger_id = :a where ledger_id = :b", a=rows[0], b=rows[3])
    agreed.sql("update sync.ledger set ledger_id = :b where ledger_id = -1", b=rows[3])
    assert kinds(checked(agreed)) == [(Break.CHANGED, rows[0]), (Break.CHANGED, rows[3])]


def test_a_row_that_was_put_in_between_is_named(agreed: Desk) -> None:
    rows = written(agreed)
    # A number that a rolled-back job has left free, as any restart does.
    agreed.sql("select setval(pg_get_serial_sequence('sync.ledger', 'ledger_id'), :n)", n=rows[-1] + 10)
    rows = written(agreed)
    free = rows[-1] - 7
    assert free not in rows
    by_hand(
        agreed,
        f"insert into sync.ledger (ledger_id, {COLUMNS}) overriding system value"
        f" select :free, {COLUMNS} from sync.ledger where ledger_id = :id",
        id=rows[0],
        free=free,
    )
    assert kinds(checked(agreed)) == [(Break.INSERTED, free)]


@pytest.mark.parametrize(
    "change",
    [
        "update sync.ledger_seals set reason = 'x' where number = 2",
        "update sync.ledger_seals set digest = sha256('x') where number = 2",
        "update sync.ledger_seals set settled = settled + 1 where number = 2",
        "update sync.ledger_seals set row_digests = row_digests || 'x' where number = 2",
    ],
)
def test_a_changed_seal_is_named(agreed: Desk, change: str) -> None:
    for _ in range(3):
        written(agreed)
    by_hand(agreed, change)
    found = checked(agreed)
    assert Break.SEAL_CHANGED in {place.kind for place in found.places}
    assert {place.seal for place in found.places} <= {2, 3}


def test_a_seal_that_was_made_anew_does_not_fit_the_next_one(agreed: Desk) -> None:
    for _ in range(3):
        written(agreed)
    agreed.sql("update sync.ledger_seals set reason = 'forged' where number = 2")
    agreed.sql(
        f"update sync.ledger_seals set digest = (select {seals.SEAL_DIGEST} from (select o.*, p.digest as before"
        " from sync.ledger_seals o join sync.ledger_seals p on p.number = 1 where o.number = 2) s)"
        " where number = 2"
    )
    assert [(place.kind, place.seal) for place in checked(agreed).places] == [(Break.SEAL_CHANGED, 3)]


def test_a_missing_seal_is_named_and_a_chain_that_was_made_anew_is_not_the_noted_one(agreed: Desk) -> None:
    for _ in range(3):
        rows = written(agreed)
    noted = checked(agreed).head
    by_hand(agreed, "delete from sync.ledger_seals where number = 2")
    assert (Break.SEAL_MISSING, None) in kinds(checked(agreed))
    # Somebody who may write everything seals what was changed again.
    agreed.sql("delete from sync.ledger_seals")
    by_hand(agreed, "update sync.ledger set new_value = '1' where ledger_id = :id", id=rows[1])
    run_seal(agreed.context)
    assert checked(agreed).intact
    found = checked(agreed, expected=noted)
    assert kinds(found) == [(Break.SEAL_UNKNOWN, None)]


def test_rows_of_a_writer_that_commits_late_are_sealed_later_and_are_no_break(agreed: Desk) -> None:
    """It took its numbers before rows that are sealed already."""
    rows = written(agreed)
    copy = f"insert into sync.ledger ({COLUMNS}) select {COLUMNS} from sync.ledger where ledger_id = :id"
    with agreed.engine.connect() as late:
        for _ in range(3):
            late.execute(sa.text(copy), {"id": rows[0]})
        written(agreed)
        found = checked(agreed)
        assert (found.broken, found.unsealed) == (0, 0)
        late.commit()
    found = checked(agreed)
    assert (found.broken, found.unsealed) == (0, 3)
    assert run_seal(agreed.context) == 3
    assert run_seal(agreed.context) == 0
    found = checked(agreed)
    assert (found.broken, found.unsealed) == (0, 0)


def test_two_that_seal_at_once_seal_each_row_once(agreed: Desk) -> None:
    rows = written(agreed)
    agreed.sql("delete from sync.ledger_seals")
    with agreed.engine.connect() as one, agreed.engine.connect() as other:
        first = seal_ledger(one, "default", most=2)
        assert first is not None
        assert first.rows == 2
        assert seal_ledger(other, "default") is None
        other.rollback()
        one.commit()
    threads = [
        threading.Thread(target=run_seal, args=(agreed.context,), kwargs={"most": 3}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_seal(agreed.context)
    found = checked(agreed)
    assert (found.rows, found.broken, found.unsealed) == (len(rows), 0, 0)


def test_accounts_have_chains_of_their_own(agreed: Desk) -> None:
    rows = written(agreed)
    other = COLUMNS.replace("account", "'other'", 1)
    copy = f"insert into sync.ledger ({COLUMNS}) select {other} from sync.ledger where ledger_id = :id"
    agreed.sql(copy, id=rows[0])
    agreed.sql(copy, id=rows[1])
    written(agreed)
    assert checked(agreed).intact
    with agreed.engine.begin() as connection:
        first = seal_ledger(connection, "other")
    assert first is not None
    assert (first.number, first.rows) == (1, 2)


def test_what_a_command_rewrites_or_removes_is_noted_and_is_no_break(agreed: Desk) -> None:
    rows = written(agreed)
    with agreed.engine.begin() as connection:
        connection.execute(
            sa.text("update sync.ledger set new_value = null where ledger_id = :i"), {"i": rows[0]}
        )
        connection.execute(sa.text("delete from sync.ledger where ledger_id = :i"), {"i": rows[1]})
        assert note_rewritten(connection, "default", "forget: receipt 7", [rows[0], rows[1]]) == 2
    found = checked(agreed)
    assert (found.broken, found.rewritten) == (0, 2)
    written(agreed)
    assert checked(agreed).intact
    by_hand(agreed, "update sync.ledger set new_value = '5' where ledger_id = :i", i=rows[0])
    assert kinds(checked(agreed)) == [(Break.CHANGED, rows[0])]


def test_a_command_need_not_say_which_rows_it_rewrote(agreed: Desk) -> None:
    rows = written(agreed)
    with agreed.engine.begin() as connection:
        assert note_rewritten(connection, "default", "forget: nothing") == 0
    by_hand(agreed, "update sync.ledger set old_value = '3' where ledger_id = :i", i=rows[2])
    with agreed.engine.begin() as connection:
        query = "update sync.ledger set new_value = null where ledger_id in (:a, :b)"
        connection.execute(sa.text(query), {"a": rows[0], "b": rows[-1]})
        connection.execute(
            sa.text(
                f"insert into sync.ledger ({COLUMNS}) select {COLUMNS} from sync.ledger where ledger_id = :a"
            ),
            {"a": rows[1]},
        )
        assert note_rewritten(connection, "default", "forget: receipt 8") == 2
    found = checked(agreed)
    # What somebody changed by hand before is still found.
    assert kinds(found) == [(Break.CHANGED, rows[2])]
    assert (found.rewritten, found.unsealed) == (2, 1)


def test_a_seal_that_cannot_be_made_stops_no_job(agreed: Desk, caplog: pytest.LogCaptureFixture) -> None:
    agreed.sql("alter table sync.ledger_seals rename to away")
    written(agreed)
    assert any(line.startswith("ledger_not_sealed") for line in caplog.messages)
    agreed.sql("alter table sync.away rename to ledger_seals")
    run_seal(agreed.context)
    assert checked(agreed).unsealed == 0


def test_who_approved_is_recorded_by_the_databases_word_too(agreed: Desk) -> None:
    agreed.sql("update crm.installs set panel_count = 97, updated_at = now()")
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="The Managing Director")
    user = agreed.one("select session_user")
    (stored,) = agreed.sql(
        "select decided_by, decided_as from sync.plans where plan_hash = :h", h=plan.plan_hash
    )
    assert dict(stored) == {"decided_by": "The Managing Director", "decided_as": user}
    rows = agreed.sql(
        "select distinct decided_by, recorded_as from sync.ledger where plan_hash = :h", h=plan.plan_hash
    )
    assert [dict(row) for row in rows] == [{"decided_by": "The Managing Director", "recorded_as": user}]


def test_the_report_is_json(agreed: Desk) -> None:
    import msgspec

    written(agreed)
    assert json.loads(msgspec.json.encode(checked(agreed)))["broken"] == 0
