"""Seals over ledger rows that are put there one by one: which rows each covers, and what breaks one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed import seal_check
from enerflo_sync.agreed.seal_check import Break, LedgerCheck, check_ledger
from enerflo_sync.agreed.seals import FIRST, SEAL_DIGEST, Sealed, note_rewritten, seal_ledger

ACCOUNT = "one"
_ROW = """
insert into sync.ledger (account, table_name, key, op, direction, policy, cause, rule, plan_hash, decision,
  decided_by, run_id, recorded_at, new_value)
select :account, 't', '{}', 'update', 'to_crm', '-', '-', '-', '-', 'applied', 'Pat', '-', now(), to_jsonb(n)
from generate_series(1, :count) n returning ledger_id
"""


class Book:
    """An account's ledger and its seals."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.all()) if result.returns_rows else []

    def write(self, count: int = 1, account: str = ACCOUNT) -> list[int]:
        return [row[0] for row in self.sql(_ROW, account=account, count=count)]

    def seal(self, most: int = 100, account: str = ACCOUNT) -> Sealed | None:
        with self.engine.begin() as connection:
            return seal_ledger(connection, account, most=most)

    def check(self, account: str = ACCOUNT, **options: Any) -> LedgerCheck:
        with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            return check_ledger(connection, account, **options)

    def seals(self, account: str = ACCOUNT) -> list[tuple[Any, ...]]:
        """Return number, kind, rows, settled and reason of each seal."""
        return [
            tuple(row)
            for row in self.sql(
                "select number, kind, row_count, settled, reason from sync.ledger_seals where account = :a"
                " order by number",
                a=account,
            )
        ]

    def broken(self, **options: Any) -> list[tuple[Break, int | None, int | None]]:
        return [(place.kind, place.ledger_id, place.seal) for place in self.check(**options).places]


@pytest.fixture
def book(warehouse: sa.Engine) -> Book:
    return Book(warehouse)


def shapes(sealed: Iterator[Sealed | None]) -> list[tuple[int, int, bool] | None]:
    return [None if one is None else (one.number, one.rows, one.done) for one in sealed]


def test_rows_are_sealed_some_at_a_time_until_none_is_left(book: Book) -> None:
    assert book.seal() is None
    first = book.write(5)
    assert first[0] == 1
    assert (book.check().unsealed, book.check().intact) == (5, True)
    assert shapes(book.seal(2) for _ in range(4)) == [(1, 2, False), (2, 2, False), (3, 1, True), None]
    assert [one[3] for one in book.seals()] == [first[1], first[3], first[4]]
    last = book.write(4)
    # As many as one seal takes: whether more are left shows the next one.
    assert shapes(book.seal(2) for _ in range(3)) == [(4, 2, False), (5, 2, False), None]
    assert [one[3] for one in book.seals()][3:] == [last[1], last[3]]
    found = book.check()
    assert (found.seals, found.rows, found.unsealed, found.rewritten, found.broken) == (5, 9, 0, 0, 0)
    heads = [
        row[0] for row in book.sql("select encode(digest, 'hex') from sync.ledger_seals order by number")
    ]
    assert found.head == heads[-1]
    ((last,),) = book.sql("select sealed_at from sync.ledger_seals order by number desc limit 1")
    assert found.sealed_at == last
    # Any seal's digest is known again, by its beginning, however it was written down.
    for head in heads:
        assert book.check(expected=f" {head[:10].upper()} ").intact
    assert book.broken(expected=f"{heads[0][:10]}x") == [(Break.SEAL_UNKNOWN, None, None)]


def test_an_account_without_rows_or_seals_is_intact(book: Book) -> None:
    book.write(2, "other")
    book.seal(account="other")
    found = book.check()
    assert (found.seals, found.rows, found.unsealed, found.head, found.sealed_at) == (0, 0, 0, None, None)
    assert found.intact
    book.write(2)
    assert (book.check().unsealed, book.check().intact) == (2, True)
    assert book.broken(expected="abc") == [(Break.SEAL_UNKNOWN, None, None)]


def test_no_number_is_settled_that_was_taken_while_the_seal_was_made(book: Book) -> None:
    """The seal is full with a row that was written after somebody else took the number before it."""
    rows = book.write(2)
    with book.engine.connect() as late, book.engine.connect() as connection:

        def meanwhile(_: Any, __: Any, statement: str, *___: Any) -> None:
            if "seal what is not sealed" in statement:
                late.execute(sa.text(_ROW), {"account": ACCOUNT, "count": 1})
                book.write()

        sa.event.listen(connection, "before_cursor_execute", meanwhile)
        sealed = seal_ledger(connection, ACCOUNT, most=3)
        assert sealed is not None
        assert (sealed.rows, sealed.done) == (3, False)
        connection.commit()
        late.commit()
    assert book.seals() == [(1, "sealed", 3, rows[-1], None)]
    found = book.check()
    assert (found.broken, found.unsealed) == (0, 1)
    assert shapes([book.seal(), book.seal()]) == [(2, 1, True), None]  # type: ignore[arg-type]
    assert (book.check().broken, book.check().unsealed) == (0, 0)


def test_what_a_late_writer_commits_is_sealed_once_with_what_came_since(book: Book) -> None:
    book.write(2)
    with book.engine.connect() as late:
        late.execute(sa.text(_ROW), {"account": ACCOUNT, "count": 2})
        after = book.write(2)
        assert shapes([book.seal()]) == [(1, 4, True)]  # type: ignore[arg-type]
        # Nothing is settled while somebody writes, and nothing is sealed again.
        assert book.seals()[0][3] == 0
        assert book.seal() is None
        late.commit()
    late_rows = [after[0] - 2, after[0] - 1]
    more = book.write(1)
    assert book.check().unsealed == 3
    assert shapes([book.seal()]) == [(2, 3, True)]  # type: ignore[arg-type]
    assert book.seals()[1][3] == more[0]
    assert book.sql("select ids::text from sync.ledger_seals where number = 2") == [
        (f"{{[{late_rows[0]},{late_rows[1] + 1}),[{more[0]},{more[0] + 1})}}",)
    ]
    assert (book.check().rows, book.check().unsealed, book.check().broken) == (7, 0, 0)


def test_a_chain_is_of_one_account(book: Book) -> None:
    for account in (ACCOUNT, "other", ACCOUNT, "other", "other"):
        book.write(2, account)
        book.seal(account=account)
    assert [one[:3] for one in book.seals()] == [(1, "sealed", 2), (2, "sealed", 2)]
    assert [one[:3] for one in book.seals("other")] == [(n, "sealed", 2) for n in (1, 2, 3)]
    for account, rows in ((ACCOUNT, 4), ("other", 6)):
        found = book.check(account)
        assert (found.rows, found.unsealed, found.broken) == (rows, 0, 0)


def test_what_another_account_settled_settles_nothing_here(book: Book) -> None:
    rows = book.write(2)
    book.write(2, "other")
    book.seal(account="other")
    assert shapes([book.seal()]) == [(1, 2, True)]  # type: ignore[arg-type]
    assert book.seals()[0][3] == rows[-1]


def test_only_a_writer_of_the_ledger_keeps_numbers_open(book: Book) -> None:
    """Somebody writes plans, and somebody only reads the ledger; our own transaction has written it."""
    rows = book.write(2)
    with book.engine.connect() as writer, book.engine.connect() as reader, book.engine.connect() as own:
        writer.execute(sa.text("lock table sync.plans in row exclusive mode"))
        reader.execute(sa.text("select count(*) from sync.ledger"))
        own.execute(sa.text(_ROW), {"account": "other", "count": 1})
        assert seal_ledger(own, ACCOUNT) is not None
        own.commit()
    assert book.seals()[0][3] == rows[-1]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("timezone", "America/Denver"), ("datestyle", "German, DMY"), ("bytea_output", "escape")],
)
def test_a_seal_is_the_same_and_the_session_too_whatever_its_settings(
    book: Book, setting: str, value: str
) -> None:
    book.write(2)
    with book.engine.connect() as connection:
        connection.execute(sa.text(f"set {setting} = '{value}'"))
        connection.commit()
        assert seal_ledger(connection, ACCOUNT) is not None
        connection.commit()
        assert connection.scalar(sa.text(f"show {setting}")) == value
        connection.rollback()
        assert check_ledger(connection, ACCOUNT).intact
        connection.rollback()
        assert connection.scalar(sa.text(f"show {setting}")) == value
        connection.execute(sa.text(f"reset {setting}"))
        connection.commit()
    assert book.check().intact


def test_a_row_has_the_digest_that_it_had_in_every_release(book: Book) -> None:
    """Another spelling is another form: what is sealed under form 1 is checked by it for ever."""
    book.sql(
        "insert into sync.ledger (account, ledger_id, table_name, key, op, field, old_value, new_value, direction,"
        " policy, cause, rule, facts, plan_hash, decision, decided_by, run_id, changed_at, recorded_at, recorded_as)"
        " overriding system value values (:a, 7, 't', '{\"id\": 1}', 'update', 'f', '\"Zoë\"', '1.50', 'to_crm', 'p',"
        " 'c', 'r', '[]', 'h', 'applied', 'Pat', 'run', '2026-01-02 03:04:05.678+00', '2026-01-02 03:04:06+00', 'u')",
        a=ACCOUNT,
    )
    book.seal()
    ((form, digests),) = book.sql("select form, encode(row_digests, 'hex') from sync.ledger_seals")
    assert (form, digests) == (1, "ef5bf0b8ec25ee51a575a16dd6332dd2")


def rewritten(book: Book, update: str, ids: list[int] | None = None, account: str = ACCOUNT) -> int:
    with book.engine.begin() as connection:
        connection.execute(sa.text(update))
        return note_rewritten(connection, account, "forget", ids)


def test_what_a_command_of_ours_did_is_noted_after_each_other(book: Book) -> None:
    rows = book.write(6)
    others = book.write(2, "other")
    assert rewritten(book, "update sync.ledger set reason = 'before it was sealed'") == 0
    for account in (ACCOUNT, "other"):
        book.seal(account=account)
    update = "update sync.ledger set reason = 'x' where ledger_id in ({})"
    assert rewritten(book, update.format(f"{rows[0]}, {rows[1]}, {others[0]}")) == 2
    assert book.check().intact
    assert [(one.kind, one.ledger_id) for one in book.check("other").places] == [(Break.CHANGED, others[0])]
    assert len(book.seals("other")) == 1
    assert rewritten(book, "select", [others[0]], "other") == 1
    # Rewritten again, and then removed.
    assert rewritten(book, update.format(rows[0]).replace("'x'", "'y'")) == 1
    delete = f"delete from sync.ledger where ledger_id in ({rows[1]}, {rows[2]})"
    assert rewritten(book, delete, [rows[2], rows[1], rows[1]]) == 2
    # One transaction that does both.
    both = f"with gone as (delete from sync.ledger where ledger_id = {rows[4]}) {update.format(rows[3])}"
    assert rewritten(book, both, [rows[3], rows[4]]) == 2
    settled = rows[-1]
    assert book.seals() == [
        (1, "sealed", 6, book.seals()[0][3], None),
        *((n, kind, count, book.seals()[0][3], "forget") for n, kind, count in (
            (2, "rewritten", 2), (3, "rewritten", 1), (4, "removed", 2), (5, "rewritten", 1), (6, "removed", 1),
        )),
    ]  # fmt: skip
    assert book.seals()[0][3] >= settled
    found = book.check()
    assert (found.rows, found.rewritten, found.broken, found.seals) == (6, 5, 0, 6)
    assert book.check("other").intact
    # What is not as it was left by then is found.
    book.sql(update.format(rows[0]).replace("'x'", "'by hand'"))
    book.sql(f"update sync.ledger set reason = 'by hand' where ledger_id = {rows[5]}")
    assert book.broken() == [(Break.CHANGED, rows[0], 1), (Break.CHANGED, rows[5], 1)]
    more = book.write(1)
    # What is not sealed yet needs no note.
    assert rewritten(book, update.format(more[0])) == 0
    book.seal()
    assert book.seals()[-1][:3] == (7, "sealed", 1)
    assert book.seals()[-1][3] == more[0]


def test_a_row_that_was_removed_by_a_command_must_not_come_back(book: Book) -> None:
    rows = book.write(3)
    book.seal()
    rewritten(book, f"delete from sync.ledger where ledger_id = {rows[1]}", [rows[1]])
    book.sql(
        "insert into sync.ledger overriding system value select l.* from sync.ledger m cross join lateral"
        " jsonb_populate_record(m, jsonb_build_object('ledger_id', cast(:id as bigint))) l where m.ledger_id = :other",
        id=rows[1],
        other=rows[0],
    )
    assert book.broken() == [(Break.CHANGED, rows[1], 1)]


def forged(book: Book, number: int, change: str) -> None:
    """Change a seal, and give it the digest that fits what it says then."""
    book.sql(f"update sync.ledger_seals set {change} where number = {number}")
    book.sql(
        f"update sync.ledger_seals set digest = (select {SEAL_DIGEST} from (select o.*, coalesce("
        f"(select digest from sync.ledger_seals where number = o.number - 1), {FIRST}) as before"
        f" from sync.ledger_seals o where o.number = {number}) s) where number = {number}"
    )


@pytest.mark.parametrize(
    "change",
    [
        "row_count = row_count + 1",
        "row_digests = row_digests || 'x'",
        "row_digests = row_digests || substring(row_digests for 16)",
        "form = 2",
        "ids = ids + '{[900000,900001)}'",
    ],
)
def test_a_seal_that_contradicts_itself_is_named_though_its_digest_fits(book: Book, change: str) -> None:
    book.write(3)
    book.seal()
    forged(book, 1, change)
    assert (Break.SEAL_CHANGED, None, 1) in book.broken()


def test_a_seal_of_removed_rows_has_no_digests(book: Book) -> None:
    rows = book.write(3)
    book.seal()
    rewritten(book, f"delete from sync.ledger where ledger_id = {rows[1]}", [rows[1]])
    assert book.check().intact
    forged(book, 2, "row_digests = '0123456789abcdef'")
    assert book.broken() == [(Break.SEAL_CHANGED, None, 2)]


def test_missing_seals_are_named(book: Book) -> None:
    for _ in range(6):
        book.write(1)
        book.seal()
    book.sql("delete from sync.ledger_seals where number in (1, 3, 4)")
    found = book.check()
    texts = [place.text for place in found.places if place.kind is Break.SEAL_MISSING]
    assert texts == ["seal 1 of the chain cannot be found", "seals 3 to 4 of the chain cannot be found"]
    assert [place.seal for place in found.places if place.kind is Break.SEAL_MISSING] == [1, 3]
    assert found.rows == 3


def test_of_many_broken_places_the_first_are_listed_in_the_order_of_the_rows(book: Book) -> None:
    rows = book.write(seal_check.LISTED + 5)
    book.seal(7)
    while book.seal(7):
        pass
    book.sql("update sync.ledger set reason = 'by hand'")
    found = book.check()
    assert (found.broken, found.intact) == (len(rows), False)
    assert [place.ledger_id for place in found.places] == rows[:20]


def test_rows_that_nobody_can_have_written_are_named(book: Book) -> None:
    """Below the first seal, between two seals, and up to what is settled; a row after that is not sealed yet."""
    rows = book.write(3)
    book.seal()
    book.sql(f"delete from sync.ledger where ledger_id = {rows[0]}")
    book.sql("delete from sync.ledger_seals")
    book.sql("select setval(pg_get_serial_sequence('sync.ledger', 'ledger_id'), :n)", n=rows[-1] + 10)
    others = book.write(1, "other")
    book.seal(account="other")
    later = book.write(1)
    book.seal()
    assert book.check().intact
    places = [-5, rows[0], rows[-1] + 1, others[0]]
    for place in (*places, later[0] + 3):
        book.sql(
            "insert into sync.ledger overriding system value select l.* from sync.ledger m cross join lateral"
            " jsonb_populate_record(m, jsonb_build_object('ledger_id', cast(:id as bigint))) l where m.ledger_id = :other",
            id=place,
            other=later[0],
        )
    assert book.broken() == [(Break.INSERTED, place, None) for place in places]
    book.sql(f"update sync.ledger set reason = 'by hand' where ledger_id = {rows[1]}")
    assert [place for _, place, _ in book.broken()] == sorted([*places, rows[1]])
    assert book.check().unsealed == 1
    # Another account's rows fill no gap.
    assert book.check("other").intact


def test_a_seal_that_lost_digests_breaks_its_rows_and_itself(book: Book) -> None:
    rows = book.write(3)
    book.seal()
    book.sql("update sync.ledger_seals set row_digests = substring(row_digests for 32)")
    assert book.broken() == [(Break.SEAL_CHANGED, None, 1), (Break.CHANGED, rows[2], 1)]


def test_an_amendment_that_lost_digests_takes_the_row_for_removed(book: Book) -> None:
    rows = book.write(3)
    book.seal()
    rewritten(book, f"update sync.ledger set reason = 'x' where ledger_id in ({rows[0]}, {rows[1]})")
    book.sql("update sync.ledger_seals set row_digests = substring(row_digests for 16) where number = 2")
    assert book.broken() == [(Break.SEAL_CHANGED, None, 2), (Break.CHANGED, rows[1], 1)]
