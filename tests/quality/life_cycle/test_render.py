"""The life-cycle on the page, as text and as JSON: counts, the picture of the steps, findings, escaped."""

from __future__ import annotations

import re

import msgspec

from enerflo_sync.addresses import Addresses
from enerflo_sync.pages.quality import ChecksFilter, Listing, read_checks_page, render_checks
from enerflo_sync.quality.render.life_cycle import BOX_HEIGHT, BOX_WIDTH, picture
from enerflo_sync.quality.render.text import quality_text
from enerflo_sync.reconcile.render.frame import Frame
from tests.quality.life_cycle.conftest import Histories, days


def told(histories: Histories) -> None:
    """Give one finding that stands, one that went, and a milestone that is not declared."""
    histories.completed(survey=50, permit=60)
    histories.completed(2, survey=60, permit=None)
    histories.install(3)
    histories.milestone("Roof <b>", 3, milestone_id=70)
    histories.judged()
    histories.later(hours=1)
    histories.milestone("Permit", completed=days(49))
    histories.milestone("  permit", 4, completed=days(9), started=days(7), milestone_id=71)
    histories.install(4)


def shown(histories: Histories, listing: Listing = Listing.CHECKS) -> str:
    with histories.engine.connect() as connection:
        page = read_checks_page(
            connection,
            histories.suite,
            histories.life_cycle,
            histories.account,
            ChecksFilter(listing=listing),
        )
    return render_checks(page, Frame(Addresses(), histories.account))


def test_the_page_has_its_own_section(histories: Histories) -> None:
    told(histories)
    histories.checked()
    page = shown(histories)
    section = page[page.index('id="life-cycle"') :]
    assert "2 findings, 3 installs judged." in section
    assert "Roof &lt;b&gt; (1). 1 install has no milestone it names." in section
    assert "Roof <b>" not in page
    assert section.count("<rect") == 5
    assert "1 overdue" in section
    assert "Life-cycle findings</dt>" in page
    listed = shown(histories, Listing.FINDINGS)
    assert "<h1>2 findings</h1>" in listed
    assert "completed within 30 days, by 2026-01-31 12:00 UTC" in listed
    assert "<dd>Too long. <b>What to do:</b> Ask.</dd>" in listed
    for text in (page, listed):
        assert "http" not in text.replace("http://www.w3.org", "")


def test_the_text_says_what_is_found_and_how_many_are_in_each_step(histories: Histories) -> None:
    told(histories)
    text = quality_text(histories.checked())
    assert "Life-cycle of installs: 2 findings, 3 installs judged.\n" in text
    assert "2 judged now, 1 new, 1 gone; the others did not move.\n" in text
    assert "Not judged, since life_cycle.yaml does not name it: Roof <b> (1)." in text
    assert (
        "install 2, permit (Permit)\n"
        "  warn step_overdue: Too long.\n"
        "    found open since 2026-01-01 12:00 UTC,"
        " expected completed within 30 days, by 2026-01-31 12:00 UTC\n"
    ) in text
    assert "install 4, permit (␣␣permit)" in text
    assert re.search(r"^permit +1 +1  30 days$", text, re.MULTILINE)
    assert re.search(r"^step_overdue +warn +3 +1$", text, re.MULTILINE)


def test_the_json_has_all_of_it(histories: Histories) -> None:
    told(histories)
    found = msgspec.to_builtins(histories.checked())["life_cycle"]
    assert (found["looked_at"], found["new"], found["gone"], found["total"]) == (2, 1, 1, 2)
    assert {one["failing"]["check"] for one in found["findings"]} == {
        "step_overdue",
        "completed_before_started",
    }
    [gone] = found["resolved"]
    assert gone["resolved_at"] == "2026-03-02T13:00:00Z"
    assert [check["todo"] for check in found["checks"] if check["check"] == "step_overdue"] == ["Ask."]


def test_before_the_first_milestone_nothing_is_said_of_it(histories: Histories) -> None:
    report = histories.checked()
    assert "ife-cycle of installs" not in shown(histories) + quality_text(report)


def test_many_findings_are_counted_and_not_all_listed(histories: Histories) -> None:
    for install_id in range(1, 16):
        histories.completed(install_id, survey=50, permit=60)
    text = quality_text(histories.checked())
    assert text.count("\ninstall ") == 10
    assert "15 findings, 15 installs judged." in text
    assert "sync.life_cycle_findings" in text


def test_no_finding_holds_anything_or_asks_for_a_person(histories: Histories) -> None:
    told(histories)
    report = histories.checked()
    assert report.life_cycle is not None
    assert report.life_cycle.total == 2
    assert (report.held, report.needs_a_person) == (0, False)
    assert histories.sql("select * from sync.quarantine") == []


def test_boxes_of_the_picture_do_not_overlap_and_lie_within_it(histories: Histories) -> None:
    histories.completed(survey=1)
    shape = picture(histories.judged().steps)
    corners = [(box.x, box.y) for box in shape.boxes]
    assert len(set(corners)) == 5
    for x, y in corners:
        assert 0 <= x <= shape.width - BOX_WIDTH
        assert 0 <= y <= shape.height - BOX_HEIGHT
        assert not any(
            (x, y) != (a, b) and abs(x - a) < BOX_WIDTH and abs(y - b) < BOX_HEIGHT for a, b in corners
        )
    assert len(shape.paths) == 5
