"""``plan`` and ``apply`` as a person runs them: what they print, and the exit codes."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.context import open_account
from tests.cli.conftest import SHIPPED, Run


@pytest.fixture
def polled(run: Run, world: World, warehouse_url: str) -> Run:
    """The command line of an account that was polled, in report mode."""
    make_crm_tables(world, warehouse_url)
    # One record of the company cannot be used, and is put aside.
    assert run("poll").code in (0, 1)
    return run


@pytest.fixture
def writing(polled: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The same with writing switched on."""
    config = tmp_path / "sync.yaml"
    config.write_text(SHIPPED.read_text().replace("mode: report", "mode: both"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    return polled


def test_in_report_mode_a_plan_is_shown_and_says_that_nothing_is_written(polled: Run) -> None:
    shown = polled("plan")
    assert shown.code == 1
    assert "Mode report: this is what would be done" in shown.out
    assert "Why it would wait for a person" in shown.out
    assert "enerflo-sync apply" not in shown.out


def test_a_plan_in_report_mode_cannot_be_applied(polled: Run) -> None:
    plan = polled("plan", "--json").json
    refused = polled("apply", plan["plan_hash"], "--approve", "Pat")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "the mode is report" in refused.err
    assert "Set mode: crm, enerflo or both" in refused.err


def test_one_table_is_switched_on_and_the_plan_and_the_doctor_say_so(
    polled: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "sync.yaml"
    installs = "    crm_table: crm.installs\n"
    text = SHIPPED.read_text().replace("in_flight_minutes: 30", "in_flight_minutes: 0")
    config.write_text(text.replace(installs, f"{installs}    mode: crm\n"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    shown = polled("plan")
    assert shown.code == 1
    assert "Mode report" not in shown.out
    assert "shown only" not in shown.out
    assert "not switched on (mode report)" in shown.out
    assert "enerflo-sync apply" in shown.out
    document = polled("plan", "--json").json
    assert {change["table_name"] for change in document["changes"]} == {"installs"}
    applied = polled("apply", document["plan_hash"], "--approve", "Pat", "--json")
    assert (applied.code, applied.json["refused"]) == (0, 0)
    assert polled("plan", "--json").json["changes"] == []
    assert "nothing of yours is written" not in polled("doctor").out


def test_plan_approve_apply_and_an_empty_plan(writing: Run) -> None:
    plan = writing("plan", "--json")
    assert plan.code == 1
    document = plan.json
    assert document["needs_approval"] is True
    assert document["counts"]["changes"] == len(document["changes"]) > 0
    assert document["undecided"]
    short = document["plan_hash"][:12]

    refused = writing("apply", short)
    assert refused.code == 2
    assert "it needs a person's approval" in refused.err
    assert '--approve "NAME"' in refused.err

    applied = writing("apply", short, "--approve", "Pat Jones")
    assert applied.code == 0, applied.out
    assert f"{document['counts']['changes']:,} changes applied, decided by Pat Jones." in applied.out

    again = writing("plan", "--json")
    assert again.code == 0
    assert again.json["changes"] == []
    assert again.json["needs_approval"] is False
    assert "Nothing to write: 4 questions are left to a person." in writing("plan").out
    second = writing("apply", short)
    assert second.code == 0
    assert f"Plan {short} was applied at 20" in second.out
    assert second.out.strip().endswith("UTC already.")
    repeated = writing("apply", short, "--json").json
    assert (repeated["already"], repeated["message"]) == (True, second.out.strip())


def test_two_persons_approve_on_the_command_line(writing: Run, tmp_path: Path) -> None:
    config = tmp_path / "sync.yaml"
    config.write_text(
        config.read_text().replace("first_to_enerflo: true", "first_to_enerflo: true\n  second_person: true")
    )
    plan = writing("plan", "--json").json
    short = plan["plan_hash"][:12]
    assert "Two persons have to approve it (approval.second_person)." in writing("plan").out
    first = writing("apply", short, "--approve", "Pat Jones")
    assert first.code == 1
    assert "Pat Jones approved it on 20" in first.out
    assert "Nothing was written." in first.out
    assert "waits for a second person's approval; Pat Jones approved it" in writing("plan").out
    for words in ((), ("--approve", "pat jones")):
        refused = writing("apply", short, *words)
        assert refused.code == 2
        assert "A second person has to approve it" in refused.err
        assert refused.err.count("\n") == 1
    applied = writing("apply", short, "--approve", "Sam")
    assert applied.code == 0
    assert f"{plan['counts']['changes']:,} changes applied, decided by Pat Jones and Sam." in applied.out


def test_apply_as_json(writing: Run) -> None:
    plan = writing("plan", "--json").json
    report = writing("apply", plan["plan_hash"], "--approve", "Pat", "--json").json
    assert report["state"] == "applied"
    assert report["applied"] == plan["counts"]["changes"]
    assert (report["moved"], report["parked"], report["waiting"]) == (0, 0, 0)


def test_a_plan_may_be_rejected(writing: Run) -> None:
    plan = writing("plan", "--json").json
    rejected = writing("apply", plan["plan_hash"], "--reject", "Sam")
    assert rejected.code == 0
    assert "rejected by Sam; nothing was written now." in rejected.out
    refused = writing("apply", plan["plan_hash"])
    assert refused.code == 2
    assert "it was rejected (Sam)" in refused.err


def test_a_yes_after_a_no_says_on_the_command_line_whose_no_it_overruled(writing: Run) -> None:
    short = writing("plan", "--json").json["plan_hash"][:12]
    writing("apply", short, "--reject", "Sam")
    applied = writing("apply", short, "--approve", "Pat")
    assert applied.code == 0
    said, *_ = applied.out.splitlines()
    assert said.startswith("It was rejected already by Sam on 20")
    assert said.endswith(" UTC: overruled by Pat.")


def test_a_no_on_the_command_line_says_whose_yes_it_takes_back(writing: Run) -> None:
    plan = writing("plan", "--json").json["plan_hash"]
    with closing(open_account("default", os.environ)) as context:
        run_approve(context, plan, by="Pat")
    rejected = writing("apply", plan, "--reject", "Sam")
    assert rejected.code == 0
    assert rejected.out.endswith("The approval by Pat is taken back.\n")


def test_a_no_to_a_plan_whose_place_a_later_one_took_is_not_taken_for_said(
    writing: Run, warehouse_url: str
) -> None:
    plan = writing("plan", "--json").json
    engine = sa.create_engine(warehouse_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        changed = "update crm.installs set panel_count = 99, updated_at = now() - interval '1 day'"
        connection.exec_driver_sql(
            f"{changed} where enerflo_install_id = (select min(enerflo_install_id) from crm.installs)"
        )
    engine.dispose()
    assert writing("plan", "--json").json["plan_hash"] != plan["plan_hash"]
    late = writing("apply", plan["plan_hash"], "--reject", "Sam", "--only", "milestones")
    assert (late.code, late.out) == (2, "")
    assert (
        "it was superseded: a later plan took its place. Make a new one with enerflo-sync plan." in late.err
    )
    assert "Nothing stands refused." in writing("reopen").out


def test_a_refused_record_is_listed_as_reopen_takes_it(writing: Run) -> None:
    plan = writing("plan", "--json").json
    writing("apply", plan["plan_hash"], "--reject", "Sam", "--only", "milestones")
    line = next(one for one in writing("reopen").out.splitlines() if one.startswith("  milestones "))
    named = line.split(";")[0].split("  ")[1].split()
    opened = writing("reopen", *named, "--by", "Pat")
    assert (opened.code, opened.err) == (0, "")
    assert named[1] in opened.out


def test_a_part_is_refused_listed_and_opened_again(writing: Run) -> None:
    plan = writing("plan", "--json").json
    short = plan["plan_hash"][:12]
    counts = {"plan_hash": plan["plan_hash"], "needs_approval": True, "counts": plan["counts"]}
    assert plan["plans"] == [counts]
    table = plan["changes"][0]["table_name"]
    refused = writing("apply", short, "--reject", "Sam", "--only", table, "--because", "not yet")
    others = {change["table_name"] for change in plan["changes"]} - {table}
    assert refused.code == bool(others)
    assert ("rejected by Sam; nothing was written now. Of it" in refused.out) is bool(others)

    later = writing("plan", "--json").json
    assert table not in {change["table_name"] for change in later["changes"]}
    told = [one for one in later["undecided"] if one["refusal_id"] is not None]
    assert len(told) == later["counts"]["refused"] > 0
    assert all(one["reason"].startswith("refused by Sam on 20") for one in told)
    assert all(one["reason"].endswith("UTC: not yet") for one in told)
    assert "Refused by a person, and not done" in writing("plan").out

    listed = writing("reopen")
    assert listed.code == 0
    assert listed.out.count("refused by Sam on 20") == len(told)
    assert writing("reopen", "install", "1").code == 2
    opened = writing("reopen", "--plan", short, "--by", "Pat", "--json")
    assert opened.code == 0
    assert len(opened.json["reopened"]) == len(told)
    assert "Nothing stands refused." in writing("reopen").out
    again = writing("plan", "--json").json
    assert table in {change["table_name"] for change in again["changes"]}


def test_a_second_part_says_how_many_of_the_applied_changes_were_made_before(writing: Run) -> None:
    plan = writing("plan", "--json").json
    short, change = plan["plan_hash"][:12], plan["changes"][0]
    (key,) = change["key"].values()
    part = f"{change['table_name']}:{key}"
    first = writing("apply", short, "--approve", "Pat", "--only", part, "--json").json
    assert (first["applied"] > 0, first["before"]) == (True, 0)
    rest = writing("apply", short, "--approve", "Pat")
    whole = plan["counts"]["changes"]
    assert f"{whole:,} changes applied ({first['applied']} of them before), decided by Pat." in rest.out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--approve", "the approval rules"], "are no person"),
        (["--approve", " "], "nobody is named"),
        (["--reject", ""], "nobody is named"),
        (["--approve", "Pat", "--only", "colours"], "nothing of the plan fits"),
        (["--approve", "Pat", "--rest", "refuse"], "nothing was chosen"),
        (["--approve", "Pat", "--because", "why"], "nothing to give a reason for"),
    ],
)
def test_a_decision_that_cannot_be_made_is_one_sentence(
    writing: Run, options: list[str], problem: str
) -> None:
    plan = writing("plan", "--json").json
    refused = writing("apply", plan["plan_hash"], *options)
    assert (refused.code, refused.out) == (2, "")
    assert problem in refused.err
    assert writing("plan", "--json").json["plan_hash"] == plan["plan_hash"]


@pytest.mark.parametrize("name", ["0123456789ab", "short", "' or 1=1 --"])
def test_an_unknown_plan_is_one_sentence(writing: Run, name: str) -> None:
    refused = writing("apply", name)
    assert refused.code == 2
    assert "there is no such plan" in refused.err
    assert refused.out == ""


def test_a_plan_as_html_and_text_in_files(polled: Run, tmp_path: Path) -> None:
    page, text = tmp_path / "plan.html", tmp_path / "plan.txt"
    assert polled("plan", "--format", "html", "--out", str(page)).code == 1
    assert polled("plan", "--out", str(text)).code == 1
    assert "<!doctype html>" in page.read_text()
    assert "Left to a person" in text.read_text()
    document = tmp_path / "plan.json"
    assert polled("plan", "--format", "json", "--out", str(document)).code == 1
    assert json.loads(document.read_text())["changes"]


def test_no_personal_data_is_printed(polled: Run, warehouse_url: str) -> None:
    import sqlalchemy as sa

    from enerflo_sync.warehouse.engine import warehouse_engine

    out = polled("plan").out + polled("plan", "--json").out
    with warehouse_engine(warehouse_url).connect() as connection:
        emails = set(
            connection.scalars(sa.text("select email from enerflo.customers where email is not null"))
        )
    assert len(emails) > 5
    assert not [email for email in emails if email in out]
