"""Search: each way to name a record finds it, nothing personal is shown, and nothing typed is logged."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
import sqlalchemy as sa
import structlog
from airflow.api_fastapi.common import http_access_log

from enerflo_sync.pages import search
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow


NAME = "Brunhilde Quendel"


def an_install(visitor: Visitor) -> dict[str, str]:
    """Return an install with its customer, whose name is nobody else's, and the CRM's lead."""
    (row,) = visitor.sql(
        "select i.install_id, i.deal_id, c.customer_id, c.email, l.lead_id"
        " from enerflo.installs i join enerflo.customers c using (account, customer_id)"
        " join crm.leads l on l.enerflo_customer_id = c.customer_id"
        " where c.email is not null and i.deleted_at is null and i.deal_id is not null"
        " and (select count(*) from enerflo.installs o where o.customer_id = c.customer_id) = 1"
        " order by i.install_id limit 1"
    )
    first, last = NAME.split()
    visitor.sql(
        "update enerflo.customers set first_name = :first, last_name = :last where customer_id = :customer",
        **{"first": first, "last": last, "customer": row["customer_id"]},
    )
    visitor.sql(
        "update enerflo.installs set customer_name = :name where install_id = :install",
        **{"name": NAME, "install": row["install_id"]},
    )
    return {name: str(value) for name, value in row.items()} | {"customer_name": NAME}


def hits(text: str) -> dict[str, str]:
    """Return the records that a page of results lists, each with how it was found."""
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', text, re.DOTALL)
    found = {}
    for row in rows:
        name = re.search(r'class="mono"[^>]*>([^<]+)<', row)
        by = re.search(r'data-label="Found by"><div>([^<]+)', row)
        assert name is not None, row
        assert by is not None, row
        found[html.unescape(name[1])] = html.unescape(by[1]).strip()
    return found


def ask(visitor: Visitor, text: str) -> dict[str, str]:
    return hits(visitor.text(f"search/default?q={quote(text)}"))


def leads_to(visitor: Visitor, text: str) -> str:
    answer = visitor.get(f"search/default?q={quote(text)}")
    assert answer.status_code == 303, answer.text
    assert answer.headers["cache-control"] == "no-store"
    page = visitor.text(answer.headers["location"].removeprefix("/enerflo/"))
    title = re.search(r"<h1>([^<]+)</h1>", page)
    assert title
    return title[1]


def test_an_exact_name_of_a_record_leads_to_it_at_once(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    one = an_install(pat)
    assert leads_to(pat, one["install_id"]) == f"install {one['install_id']}"
    assert leads_to(pat, one["deal_id"]) == f"install {one['install_id']}"
    assert leads_to(pat, one["deal_id"].upper()) == f"install {one['install_id']}"
    assert leads_to(pat, one["lead_id"]) == f"lead {one['lead_id']}"
    assert leads_to(pat, one["customer_id"]) == f"lead {one['lead_id']}"
    assert leads_to(pat, one["email"].upper()) == f"lead {one['lead_id']}"
    (milestone,) = pat.sql(
        "select install_id || '/' || milestone_id as key from enerflo.milestones where deleted_at is null limit 1"
    )
    assert leads_to(pat, milestone["key"]) == f"milestone {milestone['key']}"
    (note,) = pat.sql(
        "select c.enerflo_note_id, c.note_id from crm.notes c join enerflo.notes n on n.note_id = c.enerflo_note_id limit 1"
    )
    assert leads_to(pat, str(note["enerflo_note_id"])) == f"note {note['note_id']}"
    assert leads_to(pat, note["note_id"]) == f"note {note['note_id']}"
    (order,) = pat.sql("select min(change_order_id) as id from enerflo.change_orders")
    assert leads_to(pat, str(order["id"])) == f"change-order {order['id']}"


def test_an_appointment_is_found_where_no_table_of_the_crm_has_any(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    pat.sql(
        "insert into enerflo.appointments (account, appointment_id, observed_at, observed_by, deleted_at)"
        " values ('default', 77, now(), 'poll', now())"
    )
    text = pat.text("search/default?q=77")
    assert hits(text) == {"77": "id"}
    assert "deleted at Enerflo" in text


@pytest.mark.parametrize(
    "written",
    [
        lambda name: name,
        str.upper,
        lambda name: name.lower().split()[1],
        lambda name: name.split()[1][:4],
        lambda name: f"{name.split()[1]}, {name.split()[0][:2]}",
    ],
)
def test_an_install_is_found_by_words_of_its_customers_name_in_any_case(
    visitor: Callable[..., Visitor], written: Callable[[str], str]
) -> None:
    pat = visitor("VIEWER")
    one = an_install(pat)
    found = ask(pat, written(one["customer_name"]))
    assert found[one["install_id"]] == found[one["customer_id"]] == "name"


def test_an_install_is_found_by_the_beginning_of_its_customers_email(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    one = an_install(pat)
    pat.sql(
        f"update enerflo.customers set email = 'Nobody.Else@x.example' where customer_id = {one['customer_id']}"
    )
    found = ask(pat, "nobody.else@x")
    assert found == {one["customer_id"]: "e-mail", one["install_id"]: "customer's e-mail"}
    # What a pattern would mean is a letter here.
    assert ask(pat, "nobody%@") == ask(pat, "nobody_else@x") == {}


@pytest.mark.parametrize(
    ("name", "asked"),
    [("Émile Zoë", "émile"), ("Émile Zoë", "ÉMILE"), ("ÉMILE ZOË", "zoë"), ("Sean O'Neil-Smythe", "smythe")],
)
def test_letters_beyond_ascii_and_names_in_parts_are_found(
    visitor: Callable[..., Visitor], name: str, asked: str
) -> None:
    pat = visitor("VIEWER")
    one = an_install(pat)
    pat.sql(f"update enerflo.installs set customer_name = $${name}$$ where install_id = {one['install_id']}")
    assert one["install_id"] in ask(pat, asked)


def test_a_key_that_only_the_crm_has_leads_to_its_record(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql("select lead_id from crm.leads where enerflo_customer_id is null limit 1")
    assert leads_to(pat, row["lead_id"]) == f"lead {row['lead_id']}"
    pat.sql(
        "update crm.installs set enerflo_install_id = 99 where enerflo_install_id = (select min(enerflo_install_id) from crm.installs)"
    )
    assert leads_to(pat, "99") == "install 99"


def test_the_page_says_what_of_the_crm_was_searched_and_an_index_is_all_it_takes(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql(
        "select lead_id, email from crm.leads where enerflo_customer_id is null and email is not null limit 1"
    )
    without = pat.text(f"search/default?q={row['email']}")
    assert "crm.leads.email" in without.partition("no index of the CRM serves it, or it may not be read")[2]
    assert hits(without) == {}
    pat.sql("create index on crm.leads (email)")
    assert leads_to(pat, row["email"]) == f"lead {row['lead_id']}"


def test_a_table_of_the_crm_that_somebody_holds_is_not_waited_for(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    one = an_install(pat)
    with pat.engine.begin() as connection:
        connection.execute(sa.text("lock table crm.leads in access exclusive mode"))
        text = pat.text(f"search/default?q={one['customer_name']}")
    assert "did not answer in time" in text
    assert one["install_id"] in hits(text)


def test_twenty_of_a_kind_are_shown_and_that_there_are_more(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    pat.sql("update enerflo.installs set customer_name = 'Quillon ' || install_id")
    text = pat.text("search/default?q=quillon")
    assert len(hits(text)) == 20 < search.MOST + 1
    assert "the first 20; there are more" in text
    assert "More than 20 records found" in text


def test_nothing_personal_is_shown(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    one = an_install(pat)
    pat.sql(
        "update enerflo.customers set first_name = 'Qcanary', last_name = 'Qcanary', email = 'qcanary@qcanary.example'"
    )
    pat.sql("update enerflo.installs set customer_name = 'Qcanary ' || install_id, status_name = null")
    for asked in ("qcan", "qcanary@q", one["customer_name"]):
        text = pat.text(f"search/default?q={asked}")
        shown = re.sub(r'name="q"[^>]*>', "", text)
        assert "qcanary" not in shown.lower(), asked


def test_nothing_typed_is_written_to_a_log(
    visitor: Callable[..., Visitor], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = structlog.testing.CapturingLogger()
    monkeypatch.setattr(http_access_log, "logger", access)
    pat = visitor("VIEWER")
    pat.text("search/default?q=Qcanary")
    pat.get("differences/default?cause=seen")
    pat.client.cookies.clear()
    refused = pat.get("search/default?q=Qcanary")
    assert refused.status_code == 401
    assert "Qcanary" in refused.text
    said = f"{access.calls}{caplog.text}"
    assert "cause=seen" in said
    assert "Qcanary" not in said


@pytest.mark.parametrize(
    "asked",
    ["'", "\\", "%", "a\\'b:*", "')|('", "<script>alert(1)</script>", "\0x", "1/", "-1", "9" * 19, "²"],
)
def test_what_nobody_has_finds_nothing_and_is_shown_as_text(
    visitor: Callable[..., Visitor], asked: str
) -> None:
    text = visitor("VIEWER").text(f"search/default?q={quote(asked)}")
    assert hits(text) == {}
    assert "Nothing was found" in text
    assert "<script>alert" not in text


def test_a_search_that_is_too_long_is_said_so(visitor: Callable[..., Visitor]) -> None:
    answer = visitor("VIEWER").get(f"search/default?q={'x' * 10_000}")
    assert answer.status_code == 400
    assert "Shorten it to 200" in answer.text
    assert 'href="/enerflo/overview/default"' in answer.text


def test_without_words_the_page_says_how_to_search(visitor: Callable[..., Visitor]) -> None:
    for path in ("search/default", "search/default?q=", "search/default?q=%20"):
        text = visitor("VIEWER").text(path)
        assert "<h1>Find a record</h1>" in text


def test_a_search_takes_few_statements(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    one = an_install(pat)
    pat.text("search/default?q=x")
    for asked in one.values():
        assert len(pat.statements(f"search/default?q={quote(asked)}")) <= 12, asked


@pytest.mark.parametrize("asked", ["ab", "ab cd", "a.b@c", "4400002", "440/2", "x-1"])
def test_an_index_answers_every_part_of_a_search(visitor: Callable[..., Visitor], asked: str) -> None:
    pat = visitor("VIEWER")
    searches = [
        one for one in pat.statements(f"search/default?q={quote(asked)}") if "pages: search" in one[0]
    ]
    assert searches
    with pat.engine.begin() as connection:
        # Tables as small as these are read whole, unless that is the last resort.
        connection.execute(sa.text("set local enable_seqscan = off"))
        for statement, values in searches:
            plan = connection.exec_driver_sql(f"explain {statement}", values).scalars().all()
            assert not [line for line in plan if "Seq Scan on" in line], (statement, plan)
