"""A poll makes the mirror equal to what Enerflo says, pays only for changes, and says what it did."""

from __future__ import annotations

import pytest

from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.mirror import reading_run
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse import statistics
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import Company


def test_the_first_poll_makes_the_mirror_equal_to_the_company(company: Company) -> None:
    report = company.poll()
    assert report.state is RunState.OK, report.reasons
    assert report.applied == report.read > 0
    company.assert_mirror_is_true()


def test_what_a_first_poll_brought_is_known_to_the_planner(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (statistics, reading_run):
        monkeypatch.setattr(module, "FEW_ROWS", 10)
    company.poll()
    known = dict(
        company.rows(
            "select relname, reltuples::bigint from pg_class where relnamespace = 'enerflo'::regnamespace"
        )
    )
    for table in ("installs", "milestones", "customers"):
        ((there,),) = company.rows(f"select count(*) from enerflo.{table}")
        assert known[table] == there > 10


def test_a_second_poll_writes_no_row(company: Company) -> None:
    company.poll()
    before = company.rows(STATISTICS)
    report = company.poll()
    assert (report.applied, report.unchanged, report.state) == (0, report.read, RunState.OK)
    assert company.rows(STATISTICS) == before


STATISTICS = """
select 'installs', xmin::text, install_id from enerflo.installs
union all select 'milestones', xmin::text, install_id * 100000 + milestone_id from enerflo.milestones
union all select 'customers', xmin::text, customer_id from enerflo.customers
union all select 'notes', xmin::text, note_id from enerflo.notes
union all select 'orders', xmin::text, change_order_id from enerflo.change_orders
union all select 'adders', xmin::text, change_order_id from enerflo.change_order_adders
union all select 'versions', xmin::text, install_id from enerflo.install_versions
union all select 'statuses', xmin::text, status_id from enerflo.install_statuses
order by 1, 3, 2
"""


def test_a_poll_after_changes_brings_in_exactly_those(company: Company) -> None:
    company.poll()
    company.world.step(minutes=60, events=25)
    report = company.poll(full=True)
    assert 0 < report.applied < report.read
    company.poll(full=True)
    company.assert_mirror_is_true()


def test_pages_with_few_changes_are_stored_in_one_transaction(company: Company) -> None:
    company.poll()
    ids = [
        install_id
        for (install_id,) in company.rows("select install_id from enerflo.installs order by 1 desc")
    ]
    changed = [ids[0], ids[11], ids[35]]
    for install_id in changed:
        company.world.void_install(install_id)
    assert company.poll(PollResource.INSTALLS, per_page=10).applied == 3
    stored = company.rows("select xmin::text from enerflo.installs where install_id = any(:ids)", ids=changed)
    assert len(set(stored)) == 1
    company.assert_mirror_is_true()


def test_what_was_read_before_a_walk_fails_is_stored(company: Company) -> None:
    company.poll(PollResource.INSTALLS)
    newest = company.rows("select max(install_id) from enerflo.installs")[0][0]
    company.world.void_install(newest)
    company.faults = ["html_page@/api/v3/installs#3-9"]
    report = company.poll(PollResource.INSTALLS, per_page=10)
    assert (report.state, report.read, report.applied) == (RunState.PARTIAL, 20, 1)


def test_every_run_accounts_for_each_record_in_the_warehouse(company: Company) -> None:
    company.poll()
    company.world.step(minutes=60, events=10)
    company.poll()
    runs = company.rows(
        "select read, applied, unchanged, quarantined, skipped, requests, finished_at, state"
        " from sync.runs order by started_at"
    )
    assert len(runs) == 2
    for read, applied, unchanged, quarantined, skipped, requests, finished_at, state in runs:
        assert read == applied + unchanged + quarantined + skipped
        assert requests > 0
        assert finished_at is not None
        assert state == "ok"


def test_calls_are_counted_by_endpoint(company: Company) -> None:
    report = company.poll()
    calls = dict(company.rows("select endpoint, calls from sync.api_calls"))
    assert calls["/api/v3/installs"] == 3
    assert sum(calls.values()) == report.requests


def test_a_new_version_is_kept_with_its_evidence(company: Company) -> None:
    company.poll()
    install_id = company.rows("select min(install_id) from enerflo.installs")[0][0]
    company.world.void_install(install_id)
    report = company.poll()
    versions = company.rows(
        "select raw->>'status_name', evidence from enerflo.install_versions"
        " where install_id = :id order by first_seen_at",
        id=install_id,
    )
    assert [status for status, _ in versions][1:] == ["Voided"]
    assert versions[1][1] == f"poll:{report.run_id}"


def test_kept_versions_hold_no_signature_and_no_asking_user(company: Company) -> None:
    company.poll()
    raw = " ".join(text for (text,) in company.rows("select raw::text from enerflo.install_versions"))
    assert "https" in raw
    assert "Signature" not in raw
    assert "Expires=" not in raw
    assert company.rows("select distinct raw->'logged_in_user' from enerflo.install_versions") == [(None,)]


def test_a_wrong_key_fails_the_run_and_moves_nothing(company: Company) -> None:
    with pytest.raises(AuthenticationError):
        company.poll(key="wrong")
    assert company.rows("select state, read, reasons->'failed' from sync.runs") == [
        ("failed", 0, {"AuthenticationError": 1})
    ]
    assert company.rows("select 1 from sync.watermarks") == []


def test_an_empty_account_is_read_and_said_to_be_empty(company: Company) -> None:
    company.world = type(company.world)(0, seed=1, start=company.clock.now(), clock=company.clock)
    report = company.poll(PollResource.INSTALLS, PollResource.NOTES)
    assert (report.read, report.state) == (0, RunState.OK)


def test_two_accounts_share_tables_and_nothing_else(company: Company) -> None:
    company.poll()
    other = Company(company.warehouse, company.world, company.clock, account="other")
    report = other.poll()
    assert report.applied == report.read
    counts = company.rows("select account, count(*) from enerflo.installs group by 1 order by 1")
    assert counts == [("default", 60), ("other", 60)]
