"""Where the install list does not tell milestones, they are read from the installs, changed ones first."""

from __future__ import annotations

from datetime import timedelta

from enerflo_sync.mirror.poll_resources import PollResource
from tests.mirror.conftest import Company

INSTALLS = PollResource.INSTALLS


def mirrored(company: Company) -> set[int]:
    return {install_id for (install_id,) in company.mirror("milestones", ["install_id"])}


def test_milestones_come_from_the_installs_and_end_up_true(company: Company) -> None:
    company.lean_lists = True
    company.poll(details=100)
    company.assert_mirror_is_true()


def test_a_poll_reads_no_more_installs_than_it_may_and_the_next_goes_on(company: Company) -> None:
    company.lean_lists = True
    report = company.poll(INSTALLS, details=25)
    assert report.resources["milestones"]["read"] == 25
    first = mirrored(company)
    company.poll(INSTALLS, details=25)
    assert len(first) == 25
    assert len(mirrored(company)) == 50


def test_an_install_whose_row_changed_is_read_before_the_others(company: Company) -> None:
    company.lean_lists = True
    company.poll(INSTALLS, details=100)
    victim = sorted(mirrored(company))[17]
    at = company.clock.now() + timedelta(days=1)
    company.world.set_milestone(victim, 3904, {"completed": at})
    company.clock.advance(60)
    report = company.poll(INSTALLS, details=1)
    assert report.resources["milestones"]["applied"] == 1
    assert company.rows(
        "select completed_at from enerflo.milestones where install_id = :id and milestone_id = 3904",
        id=victim,
    ) == [(at,)]


def test_a_list_that_does_not_tell_deletes_no_milestone(company: Company) -> None:
    company.poll(INSTALLS)
    before = mirrored(company)
    company.lean_lists = True
    company.world.step(minutes=60, events=20)
    company.poll(INSTALLS, details=0)
    assert before <= mirrored(company)


def test_nothing_is_read_directly_where_the_list_tells_everything(company: Company) -> None:
    report = company.poll(INSTALLS)
    assert "milestones" not in report.resources
    assert report.requests == 3


def test_installs_that_cannot_be_read_hold_up_no_other_and_are_tried_again(company: Company) -> None:
    company.lean_lists = True
    newest = sorted((row.install_id for row in company.world.truth.installs()), reverse=True)[:20]
    company.faults = [f"success_false@/api/v3/installs/{one}#1-99" for one in newest]
    for _ in range(6):
        company.poll(INSTALLS, details=12)
    assert mirrored(company) == {row.install_id for row in company.world.truth.installs()} - {*newest}
    company.faults = []
    for _ in range(3):
        company.poll(INSTALLS, details=12)
    assert len(mirrored(company)) > 45
    company.poll(INSTALLS, details=100)
    company.poll(INSTALLS, details=100)
    assert len(mirrored(company)) == 60
