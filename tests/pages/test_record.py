"""The page of a record: both sides, what happened, what belongs to it, and addresses that lead nowhere."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa

from enerflo_sync.pages import record_history
from tests.pages.conftest import Visitor
from tests.pages.told_records import an_install, apply_plan, fields, happenings, path_of, served, words

pytestmark = pytest.mark.airflow

CANARY = "Qcanary"


def test_the_fields_that_differ_stand_first_and_the_characters_that_differ_are_marked(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    install = an_install(pat)
    text = pat.text(path_of("installs", install))
    (sides,) = pat.sql(
        "select i.status_name as mine, c.status as theirs from enerflo.installs i"
        " join crm.installs c on c.enerflo_install_id = i.install_id where install_id = :install",
        install=install,
    )
    assert fields(text)[0] == ("status", sides["mine"].strip(), sides["theirs"].strip())
    assert "<mark>" in text
    assert len(fields(text)) == 8
    assert "1 field of 8 differs" in words(text)


def test_the_page_says_of_each_field_what_the_command_line_says(visitor: Callable[..., Visitor]) -> None:
    from enerflo_airflow.hook import open_account

    from enerflo_sync.explain.text import record_sentences, story_sentences
    from enerflo_sync.jobs.explain import run_explain

    pat = visitor("VIEWER")
    install = an_install(pat)
    said = words(pat.text(path_of("install", install)))
    with closing(open_account("default")) as account:
        told = run_explain(account, "install", str(install))
    for sentence in (
        *record_sentences(told),
        *(one for story in told.fields for one in story_sentences(story)),
    ):
        assert sentence in said, sentence


def test_what_happened_is_told_newest_first(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql("select install_id from sync.webhook_events where install_id is not null limit 1")
    plan = apply_plan(pat)
    told = happenings(pat.text(path_of("install", row["install_id"])))
    kinds = [re.search(r"(webhook|version|quarantine|plan|decision|write)", one)[1] for one in told]  # type: ignore[index]
    assert kinds.index("write") < kinds.index("decision") < kinds.index("plan") < kinds.index("version")
    assert {"webhook", "version"} <= set(kinds)
    (written,) = (one for one in told if " write " in f" {one} ")
    assert plan[:12] in written
    assert "Sam" in written
    assert [one for one in told if "approved" in one and "Sam" in one]
    assert [one for one in told if "version" in one and "status" in one and "seen by webhook" in one]


def test_every_thing_that_happened_stands_on_exactly_one_page(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql("select install_id from sync.webhook_events where install_id is not null limit 1")
    # Of one moment, so that the moment alone does not part them.
    pat.sql(
        "insert into sync.webhook_events (account, event_id, event, install_id, content_hash, received_at,"
        " source_uri, state, body) select 'default', 'e' || n, 'told_' || n, :install, 'h', '2026-01-01', 'x',"
        " 'applied', '{}' from generate_series(1, 9) n",
        install=row["install_id"],
    )
    apply_plan(pat)
    path: str | None = path_of("install", row["install_id"])
    every = happenings(pat.text(str(path)))
    monkeypatch.setattr(record_history, "PAGE", 3)
    found: list[str] = []
    while path:
        text = pat.text(path)
        found += happenings(text)
        following = re.search(r'href="/enerflo/([^"]+?)(?:#history)?" rel="next"', text)
        path = html.unescape(following[1]) if following else None
    assert found == every
    assert len(found) > 13


def test_what_belongs_to_an_install_leads_to_it_and_back(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    install = an_install(pat, "(select count(*) from enerflo.notes n where n.install_id = i.install_id) > 0")
    text = pat.text(path_of("install", install))
    links = re.findall(r'href="/enerflo/(record/default/(?:milestones|notes|leads)/[^"]+)"', text)
    kinds = {link.split("/")[2]: link for link in links}
    assert set(kinds) == {"milestones", "notes", "leads"}
    for link in kinds.values():
        assert f"/enerflo/{path_of('installs', f'enerflo:{install}')}" in pat.text(link)


def test_a_held_order_is_told_beside_its_install(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql(
        "select f.install_id, f.failing from sync.change_order_facts f join sync.quarantine q"
        " on q.item_id = f.item_id and q.state = 'open' join enerflo.installs using (install_id) limit 1"
    )
    assert f"held: {', '.join(row['failing'])}" in words(pat.text(path_of("install", row["install_id"])))


@pytest.mark.parametrize(
    "key", ["a/b'c\"d%25 e", "a%2Fb", "  x ", "<b>x</b>", "crm/../x", "é/%", "x" * 10_000]
)
def test_a_key_of_any_letters_is_found_and_shown_as_text(visitor: Callable[..., Visitor], key: str) -> None:
    pat = visitor("VIEWER")
    pat.sql("alter table crm.leads alter column lead_id type text")
    pat.sql(
        "update crm.leads set lead_id = :key where lead_id = (select min(lead_id) from crm.leads"
        " where enerflo_customer_id is null)",
        key=key.strip(),
    )
    answer = served(pat, path_of("leads", key))
    assert answer.status_code == 200, answer.text[-2000:]
    assert f"lead {key.strip()[:100]}" in html.unescape(answer.text)
    assert "<b>x</b>" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        path_of("install", "0"),
        path_of("install", "x"),
        path_of("install", "9" * 30),
        path_of("install", "1/2/3"),
        path_of("install", "\0"),
        path_of("milestone", "1"),
        path_of("install", "enerflo:x"),
        path_of("install", "enerflo:"),
        path_of("install", "x" * 10_000),
        path_of("nothing", "1"),
        path_of("'; drop", "1"),
        "record/default/install/1?before=x",
        "record/default/install/1?before=[1,2,3]",
    ],
)
def test_an_address_that_leads_nowhere_is_said_so(visitor: Callable[..., Visitor], path: str) -> None:
    answer = visitor("VIEWER").get(path)
    assert answer.status_code == 404
    assert len(answer.text) < 60_000
    assert "No such record" in answer.text
    assert 'href="/enerflo/overview/default"' in answer.text


def test_a_record_that_vanished_from_both_sides_is_told_by_what_is_known_of_it(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    install = an_install(pat)
    apply_plan(pat)
    pat.sql(f"delete from crm.installs where enerflo_install_id = {install}")
    pat.sql(f"delete from enerflo.installs where install_id = {install}")
    text = pat.text(path_of("install", install))
    assert "The mirror of Enerflo has no record of it" in words(text)
    assert [one for one in happenings(text) if "written to the CRM" in one and "Sam" in one]


def test_nothing_personal_of_either_side_is_on_the_page(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    install = an_install(pat, "(select count(*) from enerflo.notes n where n.install_id = i.install_id) > 0")
    # A version with another name, which the history tells as a change.
    pat.sql(
        "insert into enerflo.install_versions select v.account, v.install_id, 'later',"
        f" replace(v.raw::text, i.customer_name, '{CANARY} V')::jsonb, now(), 'poll', 'run'"
        " from enerflo.install_versions v join enerflo.installs i using (account, install_id)"
        f" where install_id = {install} limit 1"
    )
    pat.sql(f"update crm.installs set customer_name = '{CANARY} C' where enerflo_install_id = {install}")
    pat.sql(f"update enerflo.installs set customer_name = '{CANARY} E' where install_id = {install}")
    pat.sql(f"update enerflo.notes set body = '{CANARY} body'")
    text = pat.text(path_of("install", install))
    assert CANARY not in text
    assert [one for one in happenings(text) if "version" in one and "customer_name" in one and "Q… V…" in one]
    (note,) = pat.sql(f"select note_id from enerflo.notes where install_id = {install} limit 1")
    assert CANARY not in pat.text(path_of("note", f"enerflo:{note['note_id']}"))


def test_the_number_of_statements_does_not_grow_with_the_history(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql("select install_id from sync.webhook_events where install_id is not null limit 1")
    page = path_of("install", row["install_id"])
    before = len(pat.statements(page))
    pat.sql(
        "insert into enerflo.install_versions select account, install_id, 'more' || n || content_hash,"
        " raw, first_seen_at + n * interval '1 minute', 'webhook',"
        " 'file' || n from enerflo.install_versions, generate_series(1, 50) n where install_id = :install",
        install=row["install_id"],
    )
    apply_plan(pat)
    assert len(pat.statements(page)) == before
    assert before <= 32


@pytest.mark.parametrize("table", ["install", "milestone", "note", "lead", "change-order"])
def test_an_index_answers_every_part_of_a_page(visitor: Callable[..., Visitor], table: str) -> None:
    keys = {
        "install": "select max(install_id)::text as key from enerflo.installs",
        "milestone": "select install_id || '/' || milestone_id as key from enerflo.milestones limit 1",
        "note": "select max(note_id)::text as key from crm.notes",
        "lead": "select max(lead_id) as key from crm.leads where enerflo_customer_id is not null",
        "change-order": "select max(change_order_id)::text as key from enerflo.change_orders",
    }
    pat = visitor("VIEWER")
    key = pat.sql(keys[table])[0]["key"]
    pat.text(path_of(table, key))
    asked = [
        one
        for one in pat.statements(path_of(table, key))
        if "enerflo-sync" in one[0] and "/* enerflo-sync catalog" not in one[0]
    ]
    small = "plans|plan_undecided|refusals|reconciliations|declared_columns|retries"
    with pat.engine.begin() as connection:
        connection.execute(sa.text("set local enable_seqscan = off"))
        for statement, values in asked:
            plan = connection.exec_driver_sql(f"explain {statement}", values).scalars().all()
            read = [line for line in plan if re.search(rf"Seq Scan on (?!pg_|(?:{small})\b)", line)]
            assert not read, (statement, plan)


@pytest.mark.parametrize(
    ("stands", "words_"),
    [
        ("state = 'superseded', decided_by = null", "rejected: nobody answered in time"),
        (
            "state = 'applied', decided_by = 'Sam', applied_at = null",
            "the rest rejected: nobody answered in time",
        ),
    ],
)
def test_a_no_is_not_told_as_an_approval_whatever_became_of_the_plan(
    visitor: Callable[..., Visitor], stands: str, words_: str
) -> None:
    """A later plan took the place of one that nobody answered; the rest of an applied part was rejected."""
    pat = visitor("VIEWER")
    (row,) = pat.sql("select install_id from sync.webhook_events where install_id is not null limit 1")
    pat.sql(
        f"update sync.plans set {stands}, decided_at = now(), decision_reason = 'nobody answered in time'"
        " where state = 'open'"
    )
    told = happenings(pat.text(path_of("install", row["install_id"])))
    assert [one for one in told if words_ in one]
    assert not [one for one in told if "approved" in one]
