"""A page that lacks rows inside a 200: nothing is concluded from what such a list does not name."""

from __future__ import annotations

import pytest

from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import Company

LISTS = {
    PollResource.INSTALLS: "/api/v3/installs",
    PollResource.CUSTOMERS: "/api/v1/customers",
    PollResource.CHANGE_ORDERS: "/api/v3/change-orders",
    PollResource.NOTES: "/api/v3/installs/notes",
}


def _watermark(company: Company, name: str) -> object:
    (found,) = company.rows("select value from sync.watermarks where name = :name", name=name)
    return found


@pytest.mark.parametrize("kind", ["empty_page", "short_page"])
@pytest.mark.parametrize("resource", LISTS)
def test_a_page_that_lacks_rows_once_is_asked_for_again_and_the_poll_is_whole(
    company: Company, resource: PollResource, kind: str
) -> None:
    company.poll()
    company.faults = [f"{kind}@{LISTS[resource]}#1"]
    report = company.poll(resource, full=True, per_page=5)
    assert report.state is RunState.OK
    assert "notice" not in report.reasons
    company.assert_mirror_is_true()


@pytest.mark.parametrize("kind", ["empty_page", "short_page"])
@pytest.mark.parametrize("resource", LISTS)
def test_a_list_that_goes_on_to_lack_rows_moves_no_watermark_and_finds_nothing_absent(
    company: Company, resource: PollResource, kind: str
) -> None:
    company.poll()
    before = _watermark(company, resource)
    # Its second page, and each time that it is asked for again; no more than a few rows are lost.
    company.faults = [f"{kind}@{LISTS[resource]}#2-4"]
    for _ in range(3):
        report = company.poll(resource, full=True, per_page=5)
        assert report.state is RunState.PARTIAL
        (reason,) = report.reasons["incomplete"]
        assert "walk stopped" in reason
    assert _watermark(company, resource) == before
    company.faults = []
    company.assert_mirror_is_true()
    table = LISTS[resource].rpartition("/")[2].replace("-", "_")
    assert company.rows(f"select count(*) from enerflo.{table} where absent_since is not null") == [(0,)]


def test_new_notes_of_a_list_that_lacks_them_are_read_by_the_next_poll(company: Company) -> None:
    company.poll()
    install_id = next(company.world.truth.installs()).install_id
    for number in range(12):
        company.world.add_note(install_id, f"note {number}")
    before = _watermark(company, "notes")
    company.faults = ["short_page@/api/v3/installs/notes#2-4"]
    assert company.poll(PollResource.NOTES, per_page=5).state is RunState.PARTIAL
    assert _watermark(company, "notes") == before
    company.faults = []
    company.clock.advance(3600)
    assert company.poll(PollResource.NOTES, per_page=5).state is RunState.OK
    company.assert_mirror_is_true()
