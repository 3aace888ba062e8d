"""The pages of plans: what they show, and decisions about a plan, a part of it, or what was refused."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa
from enerflo_airflow import plan_actions

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages import plan_lines, plan_lists, plans
from tests.pages import known_dags
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow
Visits = Callable[..., Visitor]


@pytest.fixture
def approvals() -> None:
    known_dags.known("approve")


def waiting(visitor: Visitor) -> str:
    """Return the address of the plan that waits."""
    (plan,) = visitor.sql("select plan_hash from sync.plans where state = 'open' and needs_approval")
    return f"plans/default/{plan['plan_hash']}"


def stored(visitor: Visitor, path: str) -> tuple[str, str | None]:
    (plan,) = visitor.sql("select * from sync.plans where plan_hash = :h", h=path.rpartition("/")[2])
    return plan["state"], plan["decided_by"]


def states(visitor: Visitor, path: str, condition: str = "true") -> dict[str, int]:
    rows = visitor.sql(
        f"select state, count(*) as n from sync.plan_changes where plan_hash = :h and {condition} group by 1",
        h=path.rpartition("/")[2],
    )
    return {row["state"]: row["n"] for row in rows}


def test_a_plan_shows_each_field_with_its_number_and_samples_and_a_new_record_once(visitor: Visits) -> None:
    pat = visitor("VIEWER")
    path = waiting(pat)
    text = pat.text(path)
    fields = pat.sql(
        "select table_name, direction, op, field, count(*) as n from sync.plan_changes"
        " where plan_hash = :h and op = 'update' group by 1, 2, 3, 4",
        h=path.rpartition("/")[2],
    )
    assert len(fields) > 2
    for row in fields:
        query = f"table={row['table_name']}&amp;direction={row['direction']}&amp;op=update&amp;field={row['field']}"
        assert f'<a href="/enerflo/{path}?{query}">{row["n"]}</a>' in text
    (one,) = pat.sql(
        "select table_name, key ->> 'enerflo_install_id' as id from sync.plan_changes where plan_hash = :h"
        " and op = 'insert' and table_name = 'installs' order by position limit 1",
        h=path.rpartition("/")[2],
    )
    assert text.count(f'href="/enerflo/record/default/installs/{one["id"]}"') == 1


def test_every_change_of_a_field_and_every_created_record_stands_on_exactly_one_page(
    visitor: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    path = waiting(pat)
    for module in (plan_lines, plan_lists, plans):
        monkeypatch.setattr(module, "PAGE", 3)
    lists = re.findall(
        r'<td class="n" data-label="(?:Changes|Rows)"><a href="/enerflo/([^"]+)">([\d,]+)</a>', pat.text(path)
    )
    assert len(lists) > 4
    for address, number in lists:
        following, found = html.unescape(address), []
        while following:
            text = pat.text(following)
            found += re.findall(r'<th scope="row"><a class="mono" href="([^"]+)"', text)
            link = re.search(r'href="/enerflo/([^"]+)" rel="next"', text)
            following = html.unescape(link[1]) if link else ""
        assert len(found) == len(set(found)) == int(number.replace(",", "")), address


@pytest.mark.usefixtures("approvals")
def test_a_plan_is_approved_once_and_the_run_that_applies_it_is_followed(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    answer = pat.post(f"{path}/approve", path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/enerflo/run?dag_id=enerflo_approve&run_id=")
    assert stored(pat, path) == ("approved", "pat")
    (run,) = known_dags.runs_of("approve")
    assert (run.conf, run.triggering_user_name) == ({"plan_hash": path.rpartition("/")[2]}, "pat")
    # The same form again, from somebody else's open page and by reloading.
    for name in ("sam", "pat"):
        second = visitor("ADMIN", name)
        again = second.post(f"{path}/approve", "inbox/default")
        assert again.status_code == 409
        assert "it is approved already by pat on 20" in again.text
    assert stored(pat, path) == ("approved", "pat")
    assert len(known_dags.runs_of("approve")) == 1
    assert "/approve" not in pat.text(path)
    # Nothing of it is written yet: a no wins.
    assert f'{path.rpartition("/")[2]}/reject" id="take-back"' in pat.text(path)
    no = second.post(f"{path}/reject", "inbox/default", reason="no")
    assert no.status_code == 303
    assert stored(pat, path) == ("rejected", "pat")


def test_a_plan_whose_run_cannot_be_started_is_said_to_be_approved_and_not_applied(
    visitor: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("ADMIN")

    def refuse(*_: object) -> str:
        raise ConfigurationError("Airflow does not know the DAG.", where="this page", next_step="Look there.")

    monkeypatch.setattr(plan_actions, "start_run", refuse)
    path = waiting(pat)
    answer = pat.post(f"{path}/approve", path)
    assert answer.status_code == 503
    for words in ("Approved, and not applied yet", "approved by pat", "Airflow does not know the DAG"):
        assert words in answer.text
    assert "Nothing was changed" not in answer.text
    assert stored(pat, path) == ("approved", "pat")


@pytest.mark.usefixtures("approvals")
def test_the_run_that_asks_already_goes_on_by_itself(visitor: Visits) -> None:
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    pat = visitor("ADMIN")
    path = waiting(pat)
    plan_hash = path.rpartition("/")[2]
    asks = trigger_dag(
        "enerflo_approve",
        triggered_by=DagRunTriggeredByType.OPERATOR,
        run_id=f"ask_{plan_hash[:16]}_1",
        conf={"plan_hash": plan_hash},
    )
    assert asks is not None
    answer = pat.post(f"{path}/approve", path)
    assert answer.headers["location"].startswith(
        f"/enerflo/run?dag_id=enerflo_approve&run_id=ask_{plan_hash[:16]}_1"
    )
    assert len(known_dags.runs_of("approve")) == 1


@pytest.mark.usefixtures("approvals")
def test_a_record_that_is_checked_is_left_out_and_stays_open(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    chosen = re.findall(r'name="chosen" value="(installs:\d+\.status)"', pat.text(path))
    install = chosen[0].partition(":")[2].removesuffix(".status")
    answer = pat.post(f"{path}/approve", path, chosen=chosen[0], also="milestones.completed_at")
    assert answer.status_code == 303, answer.text
    left = f"key ->> 'enerflo_install_id' = '{install}' and field = 'status' and table_name = 'installs'"
    assert states(pat, path, left) == {"left_out": 1}
    assert set(states(pat, path, "table_name = 'milestones' and op = 'update'")) == {"left_out"}
    assert set(states(pat, path, "field = 'panel_count' and op = 'update'")) == {"planned"}


def test_only_what_is_checked_is_rejected_with_its_reason_and_the_rest_waits(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    without = pat.post(f"{path}/reject", path, chosen="installs.status", about="only")
    assert (without.status_code, "a no needs a reason" in without.text) == (409, True)
    answer = pat.post(
        f"{path}/reject", path, chosen="installs.status", about="only", reason="the office decides"
    )
    assert answer.status_code == 303
    assert stored(pat, path) == ("open", None)
    assert set(states(pat, path, "field = 'status' and op = 'update'")) == {"refused"}
    assert "refused" not in states(pat, path, "field = 'panel_count'")
    refusals = pat.sql("select decided_by, reason, field from sync.refusals where ended_at is null")
    assert {(row["decided_by"], row["reason"], row["field"]) for row in refusals} == {
        ("pat", "the office decides", "status")
    }
    text = pat.text(path)
    assert "A part of it is decided" in text
    assert "Refused of this plan" in text


def test_what_was_refused_is_reopened_by_record_and_whole_and_once(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    pat.post(f"{path}/reject", path, reason="not now")
    assert stored(pat, path) == ("rejected", "pat")
    (before,) = pat.sql("select count(*) as n from sync.refusals where ended_at is null")
    listed = f"{path}?list=refused"
    one = re.findall(r'name="refusal" value="(\d+)"', pat.text(listed))[0]
    assert pat.post(f"{path}/reopen", listed, which="checked").status_code == 409
    assert pat.post(f"{path}/reopen", listed, which="checked", refusal=one).status_code == 303
    (row,) = pat.sql("select ended_by, end_reason from sync.refusals where refusal_id = :one", one=int(one))
    assert (row["ended_by"], row["end_reason"]) == ("pat", "opened again")
    sam = visitor("ADMIN", "sam")
    again = sam.post(f"{path}/reopen", listed, which="checked", refusal=one)
    assert (again.status_code, "It was reopened by pat on 20" in again.text) == (409, True)
    (after,) = sam.sql("select count(*) as n from sync.refusals where ended_at is null")
    assert after["n"] == before["n"] - 1
    assert sam.post(f"{path}/reopen", path).status_code == 303
    assert sam.sql("select from sync.refusals where ended_at is null") == []
    again = sam.post(f"{path}/reopen", "inbox/default")
    assert (again.status_code, "It was reopened by sam on 20" in again.text) == (409, True)


def test_a_plan_that_a_later_one_took_the_place_of_is_decided_by_nobody(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    token = pat.token(path)
    pat.sql("update sync.plans set state = 'superseded'")
    for action, fields in (("approve", {}), ("reject", {"reason": "no"})):
        answer = pat.client.post(f"/enerflo/{path}/{action}", data={"token": token, **fields})
        assert answer.status_code == 409
        assert "a later plan superseded it" in answer.text
    assert stored(pat, path) == ("superseded", None)


def test_nothing_is_approved_in_report_mode(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    pat.sql("update sync.plans set mode = 'report'")
    assert "/approve" not in pat.text(path)
    answer = pat.post(f"{path}/approve", "inbox/default?kind=held")
    assert (answer.status_code, "the mode is report" in answer.text) == (409, True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"about": "only"}, "nothing is checked"),
        ({"about": "nonsense"}, "the choice is not known"),
        ({"rest": "nonsense"}, "the choice is not known"),
        ({"also": "nowhere.nothing"}, "nothing of the plan fits"),
        ({"also": "installs'; --"}, "nothing of the plan fits"),
        ({"chosen": "installs:<script>alert(1)"}, "nothing of the plan fits"),
        ({"also": "x" * 3000}, "cannot be read: body.also"),
    ],
)
def test_a_choice_that_fits_nothing_decides_nothing(
    visitor: Visits, fields: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_dags.known("approve")
    pat = visitor("ADMIN")
    path = waiting(pat)
    answer = pat.post(f"{path}/approve", path, **fields)
    assert answer.status_code in (400, 409)
    assert words in html.unescape(answer.text)
    assert "<script>alert" not in answer.text
    assert stored(pat, path) == ("open", None)
    assert set(states(pat, path)) == {"planned"}
    assert known_dags.runs_of("approve") == []


@pytest.mark.usefixtures("approvals")
def test_an_applied_plan_is_undone_by_a_plan_that_is_approved_as_any_other(visitor: Visits) -> None:
    from enerflo_airflow.hook import open_account

    from enerflo_sync.jobs.apply import run_apply

    pat = visitor("ADMIN")
    path = waiting(pat)
    answer = pat.post(f"{path}/approve", path, chosen="installs.panel_count", about="only")
    assert answer.status_code == 303, answer.text
    with closing(open_account("default", reads_enerflo=True)) as account:
        report = run_apply(account, path.rpartition("/")[2])
    assert (report.applied, report.decided_by) == (4, "pat")
    undone = pat.post(f"{path}/undo", path)
    assert undone.status_code == 303, undone.text
    address = undone.headers["location"].removeprefix("/enerflo/")
    text = pat.text(address)
    assert (
        f"This takes plan {path.rpartition('/')[2][:12]} back. Nothing is written until it is applied."
        in text
    )
    assert "4 changes in the CRM" in text
    page = address.partition("?")[0]
    again = pat.post(f"{path}/undo", path)
    assert again.headers["location"].partition("?")[0] == f"/enerflo/{page}"
    assert pat.post(f"{page}/approve", page).status_code == 303
    assert stored(pat, page) == ("approved", "pat")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?state=nonsense", 400),
        ("?after=nonsense", 400),
        ("?after=%5B%222026-01-01%22%2C1%2C%22x%22%5D", 400),
        ("/0123456789abcdef", 404),
        ("/%27%3B--", 404),
        ("/%25%25%25%25%25%25%25%25", 404),
        (f"/{'a' * 10_000}", 404),
        ("/HASH?table=nowhere", 404),
        ("/HASH?table=installs&field=nothing", 404),
        ("/HASH?table=installs&op=nonsense", 400),
        ("/HASH?table=installs&page=-1", 400),
        (f"/HASH?table={'x' * 201}", 400),
        ("/HASH?list=nonsense", 400),
    ],
)
def test_an_address_that_leads_nowhere_is_told_with_a_way_back(
    visitor: Visits, query: str, status: int
) -> None:
    pat = visitor("VIEWER")
    plan_hash = waiting(pat).rpartition("/")[2]
    answer = pat.get(f"plans/default{query.replace('HASH', plan_hash)}")
    assert answer.status_code == status, answer.text
    assert 'href="/enerflo/plans/default"' in answer.text


@pytest.mark.parametrize(
    "query", ["?group=nothing", "?list=refused", "?list=refused_before", "?table=installs&page=99999"]
)
def test_a_list_that_is_empty_leads_back(visitor: Visits, query: str) -> None:
    pat = visitor("VIEWER")
    path = waiting(pat)
    text = pat.text(path + query)
    assert "Nothing is left of this list" in text
    assert f'href="/enerflo/{path}"' in text


def test_the_list_of_plans_is_paged_and_filtered(visitor: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    pat = visitor("VIEWER")
    pat.sql(
        "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
        " needs_approval, mode, config_hash, summary) select account, 'copy' || lpad(n::text, 12, '0'), kind,"
        " created_at - (n / 3) * interval '1 day', expires_at, case when n % 2 = 0 then 'expired' else 'applied'"
        " end, change_count, needs_approval, mode, config_hash, summary"
        " from sync.plans, generate_series(1, 10) n"
    )
    monkeypatch.setattr(plans, "PAGE", 4)
    for query, number in (("", 11), ("?state=expired", 5), ("?state=rejected", 0)):
        following, found = f"plans/default{query}", []
        while following:
            text = pat.text(following)
            found += re.findall(r'<a class="mono hash" href="/enerflo/plans/default/(\w+)"', text)
            link = re.search(r'href="/enerflo/([^"]+)" rel="next"', text)
            following = html.unescape(link[1]) if link else ""
        assert len(found) == len(set(found)) == number


def test_a_reason_is_shown_as_text_and_nothing_personal_at_all(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    assert pat.post(f"{path}/reject", path, reason="<script>alert(1)</script>").status_code == 303
    lists = [f"{path}?list=refused", f"{path}?list=questions", f"{path}?table=notes", f"{path}?table=leads"]
    text = "".join(pat.text(one) for one in (path, "plans/default", "inbox/default", *lists))
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    (known,) = pat.sql(
        "select array_agg(distinct after #>> '{}') as values from sync.plan_changes where field in ('first_name',"
        " 'last_name', 'email', 'phone', 'address', 'customer_name', 'body', 'author') and after is not null"
    )
    assert len(known["values"]) > 20
    assert [one for one in known["values"] if len(one) > 5 and one in text] == []


def test_a_plan_asks_few_questions_of_the_warehouse(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    path = waiting(pat)
    statements: list[str] = []
    hear = lambda *told: statements.append(told[2])  # noqa: E731
    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        pat.text(path)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)
    ours = [one for one in statements if "enerflo-sync" in one]
    assert 3 < len(ours) <= 8, ours


def test_a_part_of_a_plan_is_decided_about_on_its_own_page(visitor: Visits) -> None:
    known_dags.known("approve")
    pat = visitor("ADMIN")
    path = waiting(pat)
    page = f"{path}?table=installs&direction=to_crm&op=update&field=status"
    text = pat.text(page)
    assert "Approve only what is checked" in text
    chosen = re.search(r'name="chosen" value="([^"]+)"', text)
    assert chosen
    answer = pat.post(f"{path}/approve", page, chosen=html.unescape(chosen[1]), about="only")
    assert answer.status_code == 303
    assert states(pat, path, "state = 'planned'") != states(pat, path)
    assert stored(pat, path)[0] == "approved"
