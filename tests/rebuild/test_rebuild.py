"""A mirror that is derived again from its own raw versions: nothing is written but what differs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.warehouse.runs import RunState
from tests.inbox.conftest import Inbox
from tests.rebuild.conftest import SEEN, counts, damage, observed, run_rebuild, snapshot, table


def some_installs(company: Inbox, count: int) -> list[int]:
    rows = company.rows("select install_id from enerflo.installs where deleted_at is null order by 1")
    return [install for (install,) in rows[:count]]


def test_a_rebuild_of_an_unchanged_mirror_writes_no_row(lived: Inbox) -> None:
    before = snapshot(lived, versions=True)
    report = run_rebuild(lived)
    assert counts(report) == {}
    assert snapshot(lived, versions=True) == before
    assert report.state is RunState.OK
    assert not report.needs_a_person
    live = lived.one("select count(*) from enerflo.installs")
    assert table(report, "installs").rows == live
    assert table(report, "milestones").rows >= live


def test_lists_that_do_not_tell_milestones_change_nothing_either(
    make_lived: Callable[..., Inbox],
) -> None:
    lean = make_lived(lean_lists=True)
    for _ in range(2):
        lean.company.poll()
    before = snapshot(lean, versions=True)
    report = run_rebuild(lean)
    assert counts(report) == {}
    assert snapshot(lean, versions=True) == before
    (told,) = report.left["milestones"].items()
    assert told == (
        "the version does not tell the milestones",
        lean.one("select count(*) from enerflo.installs"),
    )


def test_first_the_difference_is_shown_and_nothing_is_written(lived: Inbox) -> None:
    one, two, three = some_installs(lived, 3)
    damage(
        lived,
        "update enerflo.installs set customer_name = 'Jane Roe', panel_count = 1 where install_id = :i",
        i=one,
    )
    damage(lived, "update enerflo.installs set panel_count = 2 where install_id = :i", i=two)
    damage(lived, "delete from enerflo.installs where install_id = :i", i=three)
    damage(lived, "delete from enerflo.milestones where install_id = :i", i=three)
    before, runs = snapshot(lived, versions=True), lived.one("select count(*) from sync.runs")
    report = run_rebuild(lived, write=False)
    assert snapshot(lived, versions=True) == before
    assert lived.one("select count(*) from sync.runs") == runs
    found = table(report, "installs")
    assert (found.new, found.changed, found.gone) == (1, 2, 0)
    assert found.keys["new"] == [{"install_id": three}]
    assert [(one.field, one.rows) for one in found.fields] == [("panel_count", 2), ("customer_name", 1)]
    (sample,) = found.fields[1].samples
    assert (sample.key, sample.before) == ({"install_id": one}, "J… R…")
    assert sample.after != lived.install(one, "customer_name")[0]
    assert "…" in sample.after
    assert {sample.before for sample in found.fields[0].samples} == {1, 2}
    assert table(report, "milestones").new > 0
    assert (report.written, report.run_id, report.needs_a_person) == (False, None, True)


_DAMAGE = (
    "update enerflo.installs set status_name = 'Nonsense' where {some}",
    "update enerflo.installs set contract_amount = null, created_at = now(), deal_id = 'x' where {some}",
    "update enerflo.installs set content_hash = 'no such version' where {some}",
    "delete from enerflo.installs where {some} and deleted_at is null",
    "update enerflo.milestones set completed_at = now(), title = E'a\\\\tb' where {some}",
    "update enerflo.milestones set deleted_at = now() where {some} and install_id in"
    " (select install_id from enerflo.installs where deleted_at is null)",
    "delete from enerflo.milestones where {some}",
    "insert into enerflo.milestones (account, install_id, milestone_id, title, observed_at, observed_by)"
    " select account, install_id, 999, 'Dance', now(), 'poll' from enerflo.installs where {some}"
    " and deleted_at is null",
)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_mirror_is_restored_row_by_row(lived: Inbox, seed: int) -> None:
    rng = random.Random(seed)
    before = snapshot(lived, SEEN)
    seen = {name: observed(lived, name) for name in ("installs", "milestones")}
    hit = 0
    for statement in rng.sample(_DAMAGE, 5):
        some = f"install_id % 4 = {rng.randrange(4)}"
        hit += damage(lived, statement.format(some=some))
    assert hit > 5
    damaged = snapshot(lived, SEEN)
    began = lived.clock.now()
    report = run_rebuild(lived)
    assert sum(map(sum, counts(report).values())) > 0
    after = snapshot(lived, SEEN)
    assert after["installs"] == before["installs"]
    # A row that nobody lists stays, with a tombstone.
    assert {row for row in after["milestones"] if "999" not in row} == before["milestones"]
    assert (
        lived.one("select count(*) from enerflo.milestones where milestone_id = 999 and deleted_at is null")
        == 0
    )
    written = {name: after[name] - damaged[name] for name in seen}
    for name, rows in seen.items():
        now = observed(lived, name)
        moved = {key for key in rows if now[key] != rows[key]}
        assert {now[key][0] for key in moved} <= {began}
        assert all(now[key][1] in ("poll", "webhook") for key in moved)
        assert len(moved) <= len(written[name])
    assert counts(run_rebuild(lived)) == {}


def test_the_next_poll_finds_nothing_to_change_and_then_knows_the_bytes_again(lived: Inbox) -> None:
    damage(lived, "delete from enerflo.milestones where install_id % 2 = 0")
    damage(lived, "delete from enerflo.installs where install_id % 2 = 0 and deleted_at is null")
    damage(lived, "update enerflo.installs set status_name = null where install_id % 2 = 1")
    run_rebuild(lived)
    assert lived.one("select count(*) from enerflo.installs where raw_hash is null") > 5
    before = snapshot(lived, ("raw_hash",))
    assert lived.company.poll(full=True).applied == 0
    assert snapshot(lived, ("raw_hash",)) == before
    assert (
        lived.one("select count(*) from enerflo.installs where raw_hash is null and deleted_at is null") == 0
    )
    lived.company.assert_mirror_is_true()


def test_a_deletion_stays_a_deletion_with_its_last_values(lived: Inbox) -> None:
    ((gone, deleted_at),) = lived.rows(
        "select install_id, deleted_at from enerflo.installs where deleted_at is not null limit 1"
    )
    before = snapshot(lived, SEEN)
    damage(lived, "update enerflo.installs set status_name = 'Nonsense' where install_id = :i", i=gone)
    damage(lived, "delete from enerflo.milestones where install_id = :i", i=gone)
    report = run_rebuild(lived)
    assert counts(report)["installs"] == (0, 1, 0)
    after = snapshot(lived, (*SEEN, "absent_since"))
    assert after["installs"] == {tuple(row) for row in snapshot_without(before, "installs")}
    stones = lived.rows("select distinct deleted_at from enerflo.milestones where install_id = :i", i=gone)
    assert stones == [(deleted_at,)]


def snapshot_without(before: dict[str, set[tuple[Any, ...]]], name: str) -> set[tuple[Any, ...]]:
    """A snapshot's rows without ``absent_since``."""
    from enerflo_sync.warehouse.schema import metadata

    columns = [one.name for one in metadata.tables[f"enerflo.{name}"].columns if one.name not in SEEN]
    at = columns.index("absent_since")
    return {(*row[:at], *row[at + 1 :]) for row in before[name]}


def test_a_lost_row_gets_the_newest_version_and_the_next_poll_the_last_word(lived: Inbox) -> None:
    """A name that went and came back: the version that was seen last first is not the one that counts."""
    one = some_installs(lived, 1)[0]
    customer = lived.install(one, "customer_id")[0]
    first = lived.install(one, "customer_name")[0].split()[0]
    for name in ("Other", first):
        lived.world.edit_customer(customer, {"first_name": name})
        lived.company.poll()
    damage(lived, "delete from enerflo.installs where install_id = :i", i=one)
    run_rebuild(lived)
    assert lived.install(one, "raw_hash") == (None,)
    lived.company.poll()
    assert lived.install(one, "customer_name")[0].split()[0] == first
    lived.company.assert_mirror_is_true()


def test_what_cannot_be_read_any_more_stays_and_is_put_aside(lived: Inbox) -> None:
    one, two = some_installs(lived, 2)
    bad = """update enerflo.install_versions v set raw = jsonb_set(raw, '{panel_count}', '"many"')
             from enerflo.installs i where v.install_id = i.install_id and v.content_hash = i.content_hash
             and i.install_id = :i"""
    damage(lived, bad, i=one)
    damage(
        lived,
        "update enerflo.installs set status_name = 'Nonsense' where install_id in (:i, :j)",
        i=one,
        j=two,
    )
    shown = run_rebuild(lived, write=False)
    assert [(u.table_name, u.reason, u.records, u.keys) for u in shown.unreadable] == [
        ("installs", "expected_whole_number at panel_count", 1, [{"install_id": one}])
    ]
    assert lived.one("select count(*) from sync.quarantine") == 0
    report = run_rebuild(lived)
    assert (report.state, report.needs_a_person) == (RunState.PARTIAL, True)
    assert lived.install(one, "status_name", "raw_hash") == ("Nonsense", None)
    assert lived.install(two, "status_name") != ("Nonsense",)
    assert lived.rows("select kind, reason, state, table_name, key from sync.quarantine") == [
        ("record", "expected_whole_number at panel_count", "open", "installs", {"install_id": one})
    ]
    # What Enerflo says now can be read: the poll has the last word, and closes the item.
    lived.company.poll()
    assert lived.install(one, "status_name") != ("Nonsense",)
    assert lived.rows("select state from sync.quarantine") == [("replayed",)]
    lived.company.assert_mirror_is_true()


def test_a_value_that_the_warehouse_refuses_is_told_from_the_others(lived: Inbox) -> None:
    one, two, three = some_installs(lived, 3)
    damage(
        lived,
        "update enerflo.installs set status_name = 'Nonsense' where install_id in (:i, :j, :k)",
        i=one,
        j=two,
        k=three,
    )
    damage(
        lived,
        f"""create function refuse() returns trigger language plpgsql as $$ begin
              if new.install_id = {two} then raise exception using errcode = '22000'; end if;
              return new; end $$""",
    )
    damage(
        lived,
        "create trigger refuse before update of status_name on enerflo.installs for each row execute function refuse()",
    )
    report = run_rebuild(lived)
    assert [(u.reason, u.keys) for u in report.unreadable] == [
        ("refused_by_the_warehouse", [{"install_id": two}])
    ]
    left = lived.rows("select install_id from enerflo.installs where status_name = 'Nonsense'")
    assert left == [(two,)]


def test_an_install_without_a_version_is_left_as_it_is(lived: Inbox) -> None:
    one = some_installs(lived, 1)[0]
    damage(lived, "delete from enerflo.install_versions where install_id = :i", i=one)
    damage(lived, "update enerflo.installs set status_name = 'Nonsense' where install_id = :i", i=one)
    report = run_rebuild(lived)
    assert counts(report) == {}
    assert report.left["installs"] == {"no raw version is kept of it": 1}
    assert lived.install(one, "status_name") == ("Nonsense",)


def test_only_the_tables_that_are_named(lived: Inbox) -> None:
    one, two = some_installs(lived, 2)
    damage(lived, "update enerflo.installs set status_name = 'Nonsense' where install_id = :i", i=one)
    damage(lived, "update enerflo.milestones set title = 'Nonsense' where install_id = :i", i=two)
    report = run_rebuild(lived, tables=[RebuildTable.MILESTONES])
    assert [one.table_name for one in report.tables] == ["milestones"]
    assert lived.install(one, "status_name") == ("Nonsense",)
    assert lived.one("select count(*) from enerflo.milestones where title = 'Nonsense'") == 0
    report = run_rebuild(lived, tables=[RebuildTable.INSTALLS])
    assert counts(report) == {"installs": (0, 1, 0)}


def test_milestones_of_an_install_that_is_lost_come_with_it(lived: Inbox) -> None:
    one = some_installs(lived, 1)[0]
    for name in ("installs", "milestones"):
        damage(lived, f"delete from enerflo.{name} where install_id = :i", i=one)
    assert counts(run_rebuild(lived, tables=[RebuildTable.MILESTONES])) == {}
    assert set(counts(run_rebuild(lived))) == {"installs", "milestones"}


def test_only_the_installs_that_fit(lived: Inbox) -> None:
    one, two = some_installs(lived, 2)
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense'")
    report = run_rebuild(lived, where=f"install_id = {two} or install_id = {one} and status_name is null")
    assert counts(report) == {"installs": (0, 1, 0)}
    assert lived.install(two, "agent_name") != ("Nonsense",)
    assert lived.install(one, "agent_name") == ("Nonsense",)


def test_another_account_is_left_alone(lived: Inbox) -> None:
    columns = [
        row[0]
        for row in lived.rows(
            "select column_name from information_schema.columns where table_schema = 'enerflo' and table_name = 'installs' and column_name <> 'account'"
        )
    ]
    listed = ", ".join(columns)
    damage(
        lived,
        f"insert into enerflo.installs (account, {listed}) select 'other', {listed} from enerflo.installs",
    )
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense'")
    run_rebuild(lived)
    assert lived.rows("select distinct account from enerflo.installs where agent_name = 'Nonsense'") == [
        ("other",)
    ]


def test_the_run_accounts_for_every_row(lived: Inbox) -> None:
    one, two, three = some_installs(lived, 3)
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense' where install_id = :i", i=one)
    damage(lived, "delete from enerflo.install_versions where install_id = :i", i=two)
    damage(lived, """update enerflo.install_versions set raw = '{"id": 5}' where install_id = :i""", i=three)
    report = run_rebuild(lived)
    (row,) = lived.rows(
        "select job, state, read, applied, unchanged, quarantined, skipped, requests, resources from sync.runs where run_id = :r",
        r=report.run_id,
    )
    job, state, read, applied, unchanged, quarantined, skipped, requests, resources = row
    assert (job, state, applied, quarantined, requests) == ("rebuild", "partial", 1, 1, 0)
    assert read == applied + unchanged + quarantined + skipped
    assert resources["installs"]["read"] == lived.one("select count(*) from enerflo.installs")
    assert resources["installs"]["skipped"] == 1
    assert resources["milestones"]["applied"] == 0
