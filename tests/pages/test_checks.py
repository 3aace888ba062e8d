"""The page of the checks: what fails and what to do, page by page, and letting orders through."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import closing

import pytest
from enerflo_airflow.hook import open_account

from enerflo_sync.jobs.quality import read_quality
from enerflo_sync.pages import quality_lists
from enerflo_sync.quality.report import QualityReport
from tests.pages.conftest import Visitor
from tests.pages.counting import counted_statements

pytestmark = pytest.mark.airflow
PAGE = "quality/default"
ORDERS = f"{PAGE}?list=orders"
HELD = f"{ORDERS}&state=held"


def told() -> QualityReport:
    """Return what the command line says."""
    with closing(open_account("default")) as account:
        return read_quality(account)


def listed(text: str) -> list[str]:
    return re.findall(r'href="/enerflo/record/default/change-order/(\d+)"', text)


def items(text: str) -> list[str]:
    return re.findall(r'name="item" value="([^"]+)"', text)


def every_page(visitor: Visitor, path: str) -> list[str]:
    found = []
    following: str | None = path
    while following:
        text = visitor.text(following)
        found.append(text)
        match = re.search(r'href="/enerflo/([^"]+)" rel="next"', text)
        following = html.unescape(match[1]) if match else None
    return found


def test_the_page_counts_what_the_command_line_counts(visitor: Callable[..., Visitor]) -> None:
    text = visitor("VIEWER").text(PAGE)
    report = told()
    assert report.life_cycle is not None
    assert f"{report.held} of {report.orders} change orders are held back from the CRM." in text
    assert f"{report.life_cycle.total} finding" in text
    for check in (*report.checks, *report.life_cycle.checks):
        row = text[text.index(f" · {check.check}<") :]
        row = row[: row.index("</tr>")]
        assert f"of {check.checked:,}</small>" in row
        assert html.escape(check.todo or "Correct it in Enerflo.", quote=False) in html.unescape(row)
        assert (f">{check.failed}</a>" in row) == bool(check.failed)


def test_every_failure_stands_on_exactly_one_page(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    report = told()
    failures = sum(check.failed for check in report.checks)
    monkeypatch.setattr(quality_lists, "PAGE", 4)
    pages = every_page(pat, ORDERS)
    assert f"<h1>{len(report.failing)} change orders</h1>" in pages[0]
    assert f"{failures} failures in all" in pages[0]
    assert sum(len(listed(page)) for page in pages) == failures
    assert len(pages) == -(-failures // 4)
    assert {number for page in pages for number in listed(page)} == {
        str(order.change_order_id) for order in report.failing
    }


def test_a_filter_shows_and_counts_what_it_says(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    report = told()
    for state, count in (("held", report.held), ("warned", report.warned), ("released", 0)):
        text = pat.text(f"{ORDERS}&state={state}")
        assert len(set(listed(text))) == count
        assert re.search(rf"<h1>{count} change orders?", text)
    check = next(check for check in report.checks if check.failed)
    text = pat.text(f"{ORDERS}&check={check.check}")
    assert len(listed(text)) == check.failed
    assert html.escape(check.todo) in text
    assert "Nothing matches" in pat.text(f"{ORDERS}&check=nothing_of_this_name")


def test_a_held_order_is_let_through_with_a_reason_and_by_whom(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN", "pat")
    before = pat.text(HELD)
    item = items(before)[0]
    answer = pat.post(f"{PAGE}/release", HELD, item=item, reason="seen <b>with</b> Kim", state="held")
    assert answer.status_code == 303
    shown = pat.client.get(answer.headers["location"]).text
    assert "You let 1 change order through. The next plan takes it up." in shown
    assert item not in items(shown)
    [row] = pat.sql("select * from sync.quarantine where item_id = :i", i=item)
    assert (row["state"], row["decided_by"], row["decision_reason"]) == (
        "replayed",
        "pat",
        "seen <b>with</b> Kim",
    )
    released = visitor("VIEWER").text(f"{ORDERS}&state=released")
    assert "let through <small>by pat" in released
    assert "seen &lt;b&gt;with&lt;/b&gt; Kim" in released
    assert told().released == 1
    [ledger] = pat.sql("select decided_by, reason from sync.ledger where decision = 'released'")
    assert ledger["decided_by"] == "pat"


def test_several_orders_are_let_through_at_once(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    chosen = sorted(set(items(pat.text(HELD))))
    assert len(chosen) == told().held > 1
    answer = pat.client.post(
        f"/enerflo/{PAGE}/release", data={"token": pat.token(HELD), "item": chosen, "reason": "all seen"}
    )
    assert answer.status_code == 303
    assert told().held == 0


def test_the_second_of_two_people_is_told_who_was_first_and_nothing_is_done_twice(
    visitor: Callable[..., Visitor],
) -> None:
    first = visitor("ADMIN", "kim")
    one, two = sorted(set(items(first.text(HELD))))[:2]
    assert first.post(f"{PAGE}/release", HELD, item=one, reason="ours").status_code == 303
    second = visitor("ADMIN", "lee")
    token = second.token(HELD)
    for _ in range(2):
        answer = second.client.post(
            f"/enerflo/{PAGE}/release", data={"token": token, "item": [two, one], "reason": "mine"}
        )
        assert answer.status_code == 409
        assert re.search(
            r"change order \d+ was let through by kim at 20\d\d-\d\d-\d\d \d\d:\d\d UTC: ours", answer.text
        )
        assert f'href="/enerflo/{PAGE}?list=orders"' in answer.text
    # Nothing of the second person's choice was done.
    assert [
        row["state"] for row in second.sql("select state from sync.quarantine where item_id = :i", i=two)
    ] == ["open"]
    assert len(second.sql("select * from sync.ledger where decision = 'released'")) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": "x"}, "no change order was chosen"),
        ({"item": "HELD", "reason": "  "}, "nothing says why"),
        ({"item": "HELD", "reason": "x" * 10_000}, "the reason is longer than 1,000 characters"),
        ({"item": "nothing'\"%\0/", "reason": "x"}, "no item has the id"),
        ({"item": "FILE", "reason": "x"}, "only held change orders are released"),
    ],
)
def test_a_form_that_cannot_be_done_is_answered_in_words(
    visitor: Callable[..., Visitor], fields: dict[str, str], said: str
) -> None:
    pat = visitor("ADMIN")
    [file] = pat.sql("select item_id from sync.quarantine where kind = 'file'")
    chosen = {"HELD": items(pat.text(HELD))[0], "FILE": file["item_id"]}
    given = {name: chosen.get(value, value) for name, value in fields.items()}
    answer = pat.post(f"{PAGE}/release", HELD, **given)
    assert answer.status_code == 409
    assert said in html.unescape(answer.text)
    assert told().released == 0


def test_who_may_not_act_sees_no_form_and_is_refused(visitor: Callable[..., Visitor]) -> None:
    admin = visitor("ADMIN")
    item, token = items(admin.text(HELD))[0], admin.token(HELD)
    viewer = visitor("VIEWER")
    text = viewer.text(HELD)
    assert items(text) == []
    assert "Let them through" not in text
    for given in (token, "", "1.2", "9999999999.aa"):
        answer = viewer.client.post(
            f"/enerflo/{PAGE}/release", data={"token": given, "item": item, "reason": "x"}
        )
        assert answer.status_code == 403
    other = visitor("ADMIN", "somebody-else")
    answer = other.client.post(f"/enerflo/{PAGE}/release", data={"token": token, "item": item, "reason": "x"})
    assert answer.status_code == 403
    assert told().released == 0


def test_every_finding_stands_on_exactly_one_page(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    found = told().life_cycle
    assert found is not None
    monkeypatch.setattr(quality_lists, "PAGE", 30)
    pages = every_page(pat, f"{PAGE}?list=findings")
    assert f"<h1>{found.total} findings</h1>" in pages[0]
    assert sum(page.count('data-label="Step"') for page in pages) == found.total > 30
    assert pages[0].index(f">{found.findings[0].install_id}<") < pages[0].index(
        f">{found.findings[1].install_id}<"
    )
    for finding in found.findings[:3]:
        assert finding.failing.reason in pages[0]


@pytest.mark.parametrize(
    "query",
    [
        "list=nothing",
        "list=orders&state=nothing",
        "list=orders&after=x",
        "list=findings&after=-1",
        "list=findings&after=99999999999999999999",
        "list=orders&check=" + "x" * 10_000,
        "list=orders&check=%00",
    ],
)
def test_an_address_that_cannot_be_read_is_said_so(visitor: Callable[..., Visitor], query: str) -> None:
    answer = visitor("VIEWER").get(f"{PAGE}?{query}")
    assert answer.status_code == 400
    assert "This address leads nowhere" in answer.text


@pytest.mark.parametrize("query", ["check='%3B--", "check=%3Cscript%3Ealert(1)", "check=%25&after=no/1"])
def test_what_nobody_has_finds_nothing_and_is_shown_as_text(
    visitor: Callable[..., Visitor], query: str
) -> None:
    text = visitor("VIEWER").text(f"{ORDERS}&{query}")
    assert "<h1>0 change orders</h1>" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("path", [PAGE, ORDERS, f"{PAGE}?list=findings"])
def test_a_page_is_small_asks_few_questions_and_holds_nothing_personal(
    visitor: Callable[..., Visitor], path: str
) -> None:
    pat = visitor("ADMIN")
    pat.text(path)
    with counted_statements() as statements:
        text = pat.text(path)
    assert len(statements) <= 12, statements
    assert len(text.encode()) < 60_000
    names = pat.sql("select customer_name from enerflo.installs where customer_name is not null limit 500")
    assert len(names) > 50
    assert [row["customer_name"] for row in names if str(row["customer_name"]) in text] == []


def test_an_order_of_another_account_is_not_reached(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    token, item = pat.token(HELD), items(pat.text(HELD))[0]
    pat.sql("update sync.quarantine set account = 'west' where kind = 'change_order'")
    pat.sql("update sync.change_order_facts set account = 'west'")
    assert "<h1>0 change orders</h1>" in pat.text(ORDERS)
    answer = pat.client.post(f"/enerflo/{PAGE}/release", data={"token": token, "item": item, "reason": "x"})
    assert answer.status_code == 409
    assert "no item has the id" in answer.text
