"""The inbox: its number is its list, and each entry is settled from it, once, in the user's name."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from enerflo_sync.pages import inbox_details, inbox_group, waiting
from tests.pages import known_dags
from tests.pages.company import PageCompany
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow
PAGE = "inbox/default"
Visits = Callable[..., Visitor]


def entries(text: str) -> list[str]:
    """Return what the entries of a page say, in words."""
    found = re.findall(r'class="what"><b>(.*?)</b><span class="why">(.*?)</span>', text)
    return [html.unescape(": ".join(one)) for one in found]


def in_the_bar(text: str) -> int:
    found = re.search(r'Inbox <span class="pill">([\d,]+)</span>', text)
    return int(found[1].replace(",", "")) if found else 0


def listed(visitor: Visitor, path: str = PAGE) -> list[str]:
    """Return the entries of all pages of the inbox."""
    found, following = [], path
    while following:
        text = visitor.text(following)
        found += entries(text)
        link = re.search(r'href="/enerflo/([^"]+)" rel="next"', text)
        following = html.unescape(link[1]) if link else ""
    return found


def group(visitor: Visitor, condition: str) -> str:
    """Return the fingerprint of a group of open items."""
    found = visitor.sql(
        f"select fingerprint from sync.quarantine where state = 'open' and {condition} limit 1"
    )
    return str(found[0]["fingerprint"])


def seen(visitor: Visitor, path: str) -> str:
    """Return what the form of a group's page sends back of the items that it shows."""
    found = re.search(r'name="seen" value="([0-9a-f]{32})"', visitor.text(path))
    assert found
    return found[1]


def parked(visitor: Visitor, changes: int = 3) -> None:
    """Some of the plan's changes could not be made an hour ago."""
    visitor.sql(
        "insert into sync.ledger (account, table_name, key, op, field, old_value, new_value, direction, policy,"
        " cause, rule, plan_hash, decision, reason, decided_by, run_id, recorded_at)"
        " select account, table_name, key, op, field, before, after, direction, policy, cause, rule, plan_hash,"
        " 'parked', 'the row is locked', 'pat', 'r1', now() - interval '1 hour' from sync.plan_changes"
        " where op = 'update' and field = 'status' order by position limit :changes",
        changes=changes,
    )


def refused(visitor: Visitor) -> str:
    """Reject the plan that waits, and return its hash."""
    (plan,) = visitor.sql("select plan_hash from sync.plans where state = 'open' and needs_approval")
    path = f"plans/default/{plan['plan_hash']}"
    assert visitor.post(f"{path}/reject", path, reason="not now").status_code == 303
    return str(plan["plan_hash"])


def one_of_each(visitor: Visitor) -> None:
    """Let something of every kind wait."""
    parked(visitor)
    refused(visitor)
    visitor.sql(
        "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
        " needs_approval, mode, config_hash, summary) values ('default', 'another-plan', 'sync', now() - interval '9 days',"
        " now() + interval '1 day', 'open', 3, true, 'both', '', '{\"groups\": [], \"undecided\": {}, \"kept\": {}}')"
    )


@pytest.mark.parametrize("size", [50, 4])
def test_the_number_in_the_bar_is_the_number_of_entries_of_every_kind(
    visitor: Visits, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    from enerflo_sync.pages import inbox

    pat = visitor("ADMIN")
    one_of_each(pat)
    for module in (waiting, inbox):
        monkeypatch.setattr(module, "PAGE", size)
    found = listed(pat)
    number = in_the_bar(pat.text("plans/default"))
    assert number == len(found) == len(set(found)) > 20
    assert f"<h1>{number} things to resolve</h1>" in pat.text(PAGE)
    for words in (
        "waits for approval",
        "not ingested",
        "held back",
        "not made in the CRM",
        "question",
        "refused",
    ):
        assert any(words in one for one in found), words
    order = [
        next(n for n, one in enumerate(found) if words in one)
        for words in ("waits for approval", "not ingested", "held back", "not made", "question", "refused")
    ]
    assert order == sorted(order)


def test_each_kind_has_an_address_of_its_own(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    one_of_each(pat)
    kinds = re.findall(r'href="/enerflo/inbox/default\?kind=(\w+)"', pat.text(PAGE))
    assert kinds == ["plan", "quarantine", "held", "parked", "question", "refused"]
    assert sorted(one for kind in kinds for one in listed(pat, f"{PAGE}?kind={kind}")) == sorted(listed(pat))


def test_a_plan_whose_time_ran_out_waits_for_nobody(visitor: Visits) -> None:
    pat = visitor("VIEWER")
    before = in_the_bar(pat.text(PAGE))
    pat.sql("update sync.plans set expires_at = now() - interval '1 second'")
    assert in_the_bar(pat.text(PAGE)) == before - 1


def test_who_may_only_read_sees_no_button(visitor: Visits) -> None:
    one_of_each(visitor("ADMIN"))
    reader = visitor("VIEWER")
    (plan,) = reader.sql("select plan_hash from sync.plans where state = 'rejected'")
    fingerprint = group(reader, "kind = 'change_order'")
    for path in (PAGE, f"{PAGE}/{fingerprint}", "plans/default", f"plans/default/{plan['plan_hash']}"):
        text = reader.text(path)
        assert 'method="post"' not in text
        assert 'type="checkbox"' not in text


def test_held_orders_are_released_with_a_reason_and_the_second_is_told_by_whom(visitor: Visits) -> None:
    pat, sam = visitor("ADMIN", "pat"), None
    fingerprint = group(pat, "kind = 'change_order'")
    path = f"{PAGE}/{fingerprint}"
    number = in_the_bar(pat.text(PAGE))
    token = pat.token(path)
    named = {"fingerprint": fingerprint, "seen": seen(pat, path)}
    without = pat.client.post(f"/enerflo/{PAGE}/release", data={"token": token, **named})
    assert without.status_code == 409
    assert "needs a reason and a name" in without.text
    answer = pat.post(f"{PAGE}/release", path, **named, reason="the office knows it")
    assert answer.status_code == 303
    text = pat.text(answer.headers["location"].removeprefix("/enerflo/"))
    assert "1 change order released" in text
    assert in_the_bar(text) == number - 1
    (row,) = pat.sql("select * from sync.quarantine where fingerprint = :f", f=fingerprint)
    assert (row["state"], row["decided_by"], row["decision_reason"]) == (
        "replayed",
        "pat",
        "the office knows it",
    )
    sam = visitor("ADMIN", "sam")
    again = sam.post(f"{PAGE}/release", PAGE, **named, reason="mine")
    assert again.status_code == 409
    assert "It was released by pat on 20" in again.text
    assert "It was released by pat on 20" in sam.text(path)
    (row,) = sam.sql("select * from sync.quarantine where fingerprint = :f", f=fingerprint)
    assert row["decided_by"] == "pat"
    assert len(sam.sql("select from sync.ledger where decision = 'released'")) == 1


@pytest.mark.parametrize("action", ["release", "dismiss"])
def test_what_joined_a_group_after_it_was_seen_is_not_settled_with_it(visitor: Visits, action: str) -> None:
    pat = visitor("ADMIN")
    fingerprint = group(pat, "kind = 'change_order'")
    path = f"{PAGE}/{fingerprint}"
    before = seen(pat, path)
    assert seen(pat, PAGE), "the inbox has the same form"
    # One takes the place of another: the number alone would not tell.
    pat.sql(
        "update sync.quarantine set item_id = md5(item_id) || md5(item_id) where fingerprint = :f",
        f=fingerprint,
    )
    for said in (before, "", "x" * 32):
        answer = pat.post(f"{PAGE}/{action}", path, fingerprint=fingerprint, seen=said, reason="known")
        assert answer.status_code == 409
        assert "it is not what you saw: 1 of it are open now" in answer.text
    assert pat.sql("select * from sync.quarantine where decided_by = 'pat'") == []
    after = pat.post(f"{PAGE}/{action}", path, fingerprint=fingerprint, seen=seen(pat, path), reason="known")
    assert (after.status_code, len(pat.sql("select from sync.quarantine where decided_by = 'pat'"))) == (
        303,
        1,
    )


def test_a_group_that_is_too_large_to_be_seen_has_no_button_for_all_of_it(
    visitor: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("ADMIN")
    (row,) = pat.sql(
        "select fingerprint from sync.quarantine where kind = 'record' group by 1 having count(*) > 1"
    )
    for module in (inbox_details, inbox_group):
        monkeypatch.setattr(module, "MOST_COUNTED", 1)
    path = f"{PAGE}/{row['fingerprint']}"
    assert 'name="seen"' not in pat.text(path)
    assert "Too many to resolve unseen with one button" in pat.text(path)
    assert 'name="item"' in pat.text(path)


def test_what_is_checked_of_a_group_is_dismissed_and_the_rest_stays(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    (found,) = pat.sql(
        "select fingerprint, array_agg(item_id) as items from sync.quarantine"
        " where kind = 'record' group by 1 having count(*) > 1"
    )
    path = f"{PAGE}/{found['fingerprint']}"
    one, *others = found["items"]
    assert pat.text(path).count('name="item"') == len(found["items"])
    nothing = pat.post(f"{PAGE}/dismiss", path, reason="why not")
    assert nothing.status_code == 409
    assert "no item was named" in nothing.text
    assert pat.post(f"{PAGE}/dismiss", path, item=one, reason="known").status_code == 303
    rows = {row["item_id"]: row["state"] for row in pat.sql("select item_id, state from sync.quarantine")}
    assert rows[one] == "dismissed"
    assert {rows[other] for other in others} == {"open"}


def test_a_parked_change_is_retried_and_does_not_stand_twice(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    parked(pat)
    (one,) = listed(pat, f"{PAGE}?kind=parked")
    assert one == "3 changes not made in the CRM: installs.status: the row is locked"
    text = pat.text(f"{PAGE}?kind=parked")
    assert "the row is locked" in text
    fingerprint = re.search(r'retry".*?name="fingerprint" value="(\w+)"', text, re.DOTALL)
    assert fingerprint
    answer = pat.post(f"{PAGE}/retry", f"{PAGE}?kind=parked", fingerprint=fingerprint[1])
    assert answer.status_code == 303
    assert listed(pat, f"{PAGE}?kind=parked") == []
    assert {row["requested_by"] for row in pat.sql("select * from sync.retries")} == {"pat"}
    again = visitor("ADMIN", "sam").post(f"{PAGE}/retry", PAGE, fingerprint=fingerprint[1])
    assert again.status_code == 409
    assert "pat had parked changes tried again on 20" in again.text


def test_questions_keep_their_age_from_plan_to_plan(visitor: Visits) -> None:
    from enerflo_airflow.hook import open_account

    from enerflo_sync.jobs.plan import run_plan

    pat = visitor("ADMIN")
    asked = listed(pat, f"{PAGE}?kind=question")
    assert asked
    pat.sql(
        "update sync.plans set summary = jsonb_set(summary, '{questions}', (select jsonb_agg(q || "
        "jsonb_build_object('since', now() - interval '40 days')) from jsonb_array_elements(summary"
        " -> 'questions') q)) where kind = 'sync'"
    )
    account = open_account("default")
    try:
        run_plan(account)
    finally:
        account.close()
    assert listed(pat, f"{PAGE}?kind=question") == asked
    assert pat.text(f"{PAGE}?kind=question").count(">40 d</time>") == len(asked)


@pytest.fixture
def replays() -> None:
    known_dags.known("replay")


@pytest.mark.usefixtures("replays")
def test_a_group_is_replayed_by_a_run_in_the_users_name(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    fingerprint = group(pat, "kind = 'record'")
    answer = pat.post(f"{PAGE}/replay", PAGE, fingerprint=fingerprint)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/enerflo/run?dag_id=enerflo_replay&run_id=")
    (run,) = known_dags.runs_of("replay")
    assert run.triggering_user_name == "pat"
    assert run.conf["value"] == fingerprint
    assert (run.conf["selection"], run.conf["action"]) == ("fingerprint", "replay")
    twice = pat.post(f"{PAGE}/replay", PAGE, fingerprint=fingerprint)
    assert (twice.status_code, len(known_dags.runs_of("replay"))) == (303, 1)
    pat.sql("update sync.quarantine set state = 'replayed' where fingerprint = :f", f=fingerprint)
    again = pat.post(f"{PAGE}/replay", PAGE, fingerprint=fingerprint)
    assert again.status_code == 409
    assert "A later poll or check resolved it" in again.text
    assert len(known_dags.runs_of("replay")) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PAGE}?kind=nonsense", 400),
        (f"{PAGE}?after=nonsense", 400),
        (f"{PAGE}?after=%5B%22plan%22%2C%22x%22%2C%22y%22%5D", 400),
        (f"{PAGE}?first=%5B1%2C2%2C3%5D", 400),
        (f"{PAGE}/nothing", 404),
        (f"{PAGE}/%27%22%3Cscript%3Ealert(1)", 404),
        (f"{PAGE}/%00", 404),
        (f"{PAGE}/{'9' * 10_000}", 404),
        ("inbox/nowhere", 404),
    ],
)
def test_an_address_that_leads_nowhere_is_told_with_a_way_back(
    visitor: Visits, path: str, status: int
) -> None:
    answer = visitor("VIEWER").get(path)
    assert answer.status_code == status, answer.text
    assert "<script>alert" not in answer.text
    assert 'href="/enerflo/accounts"' in answer.text


def test_nothing_personal_stands_in_the_inbox(visitor: Visits, told_company: PageCompany) -> None:
    pat = visitor("ADMIN")
    one_of_each(pat)
    text = pat.text(PAGE) + pat.text(f"{PAGE}?kind=held") + pat.text(f"{PAGE}?kind=question")
    names = [row["customer_name"] for row in pat.sql("select customer_name from enerflo.installs")]
    notes = [row["body"] for row in pat.sql("select body from enerflo.notes")]
    assert len(names) > 50
    assert [one for one in {*names, *notes} if one and one in text] == []


def test_the_inbox_asks_few_questions_of_the_warehouse(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    one_of_each(pat)
    statements: list[str] = []
    hear = lambda *told: statements.append(told[2])  # noqa: E731
    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        pat.text(PAGE)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)
    ours = [one for one in statements if "enerflo-sync" in one]
    assert 5 < len(ours) <= 12, ours
