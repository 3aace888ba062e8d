"""``what-if``: what another mapping would do now, and would have done, without doing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.what_if import run_what_if
from enerflo_sync.plan.what_if import WhatIf
from enerflo_sync.plan.what_if_text import render_what_if
from tests.writes.conftest import SHIPPED, Desk
from tests.writes.kept import brought

ON_HOLD = 4
STATUS = "type: text, trim: true, fold_case: true, source_of_truth: newest"
CRM_DECIDES = (STATUS, STATUS.replace("newest", "crm"))
BOTH = ("mode: report", "mode: both")


@pytest.fixture
def install(desk: Desk) -> int:
    return brought(desk, _in_progress)


def _in_progress(desk: Desk) -> int:
    desk.switched_on("both")
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    return int(
        desk.one(
            "select min(install_id) from enerflo.installs i join crm.installs c"
            " on c.enerflo_install_id = i.install_id and c.status = i.status_name"
            " where status_name not in ('On Hold', 'Voided', 'Completed')"
        )
    )


def what_if(desk: Desk, *edits: tuple[str, str], days: int = 30) -> WhatIf:
    """Ask what the shipped file with some of its texts replaced would do."""
    text = SHIPPED.read_text()
    for old, new in (BOTH, *edits):
        assert old in text, old
        text = text.replace(old, new)
    path = desk.folder / "new.yaml"
    path.write_text(text)
    return run_what_if(desk.context, path, {}, days=days)


def stored(desk: Desk) -> dict[str, Any]:
    """Return everything in the tables that a plan writes."""
    names = (
        "agreed",
        "plans",
        "plan_changes",
        "plan_undecided",
        "ledger",
        "watermarks",
        "reconciliations",
        "runs",
    )
    return {name: desk.sql(f"select to_jsonb(t.*) from sync.{name} t order by 1") for name in names}


def test_the_same_mapping_differs_in_nothing(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    report = what_if(desk)
    assert (report.same_mapping, report.differs) == (True, False)
    assert (report.now, report.new) == ({"to_crm": 1}, {"to_crm": 1})
    assert "The two plans are the same." in render_what_if(report)


def test_another_source_of_truth_turns_a_change_round(desk: Desk, install: int) -> None:
    before = desk.one("select status from crm.installs where enerflo_install_id = :id", id=install)
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    report = what_if(desk, CRM_DECIDES)
    (one,) = report.plan
    assert (one.kind, one.table_name, one.field, one.now, one.new, one.count) == (
        "different", "installs", "status", "to_crm", "to_enerflo", 1,
    )  # fmt: skip
    (sample,) = one.samples
    assert (sample.now_after, sample.new_after) == ("On Hold", before)
    text = render_what_if(report)
    assert (
        "1 x installs.status, update: written to the CRM by the present mapping,"
        " written to Enerflo by the new one" in text
    )
    assert f'present: "{before}" to "On Hold"; new: "On Hold" to "{before}"' in text
    assert "The ledger has no decision about a value since" in text
    assert "made alike" not in text


def test_the_plan_of_now_is_the_one_that_plan_makes(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    desk.world.add_note(install, "New.")
    run_poll(desk.context)
    desk.sql(
        "update crm.milestones set due_at = '2026-05-05T08:00:00Z', updated_at = now()"
        " where enerflo_install_id = :id and milestone_id = (select min(milestone_id) from crm.milestones)",
        id=install,
    )
    report = what_if(desk)
    plans = run_plan(desk.context)
    assert report.now.get("to_crm", 0) == sum(plan.count("to_crm") for plan in plans) > 1
    assert report.now.get("to_enerflo", 0) == sum(plan.count("to_enerflo") for plan in plans) == 1


def test_a_change_that_could_not_be_made_is_a_question_in_both_plans(desk: Desk, install: int) -> None:
    desk.sql("alter table crm.installs add constraint no_hold check (status <> 'On Hold') not valid")
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    report = what_if(desk)
    assert (report.now, report.new) == ({"review": 1}, {"review": 1})
    assert [plan.change_count for plan in run_plan(desk.context)] == [0]


def test_a_table_under_another_name_is_the_same_table(desk: Desk, install: int) -> None:
    """A row that somebody deleted is not made again, also where the table has another name in the new file."""
    desk.sql("delete from crm.installs where enerflo_install_id = :id", id=install)
    name = "  installs:\n    crm_table", "  projects:\n    of: installs\n    crm_table"
    report = what_if(desk, name)
    assert (report.now, report.new) == ({"review": 1}, {"review": 1})
    desk.configured(BOTH, name)
    (plan,) = run_plan(desk.context)
    assert (plan.change_count, sum(plan.undecided.values())) == (0, 1)


def test_a_field_that_is_left_out_is_only_in_the_present_plan(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    report = what_if(desk, (f"      status: {{enerflo: status_name, {STATUS}}}\n", ""))
    (one,) = report.plan
    assert (one.kind, one.field, one.now, one.new) == ("only_now", "status", "to_crm", None)


def test_a_stricter_comparison_finds_what_the_present_one_does_not(desk: Desk, install: int) -> None:
    panels = "{enerflo: panel_type, type: text, trim: true, fold_case: true"
    key = desk.one("select min(enerflo_install_id) from crm.installs where panel_type <> upper(panel_type)")
    desk.sql(
        "update crm.installs set panel_type = upper(panel_type), updated_at = now() where enerflo_install_id = :id",
        id=key,
    )
    report = what_if(desk, (panels, panels.replace("true", "false")))
    (one,) = report.plan
    assert (one.kind, one.field, one.now, one.new, one.count) == ("only_new", "panel_type", None, "to_crm", 1)
    assert one.samples[0].key == {"enerflo_install_id": key}


def test_nothing_is_written_and_nobody_is_called(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    before = stored(desk)
    desk.context.calls.take()
    what_if(desk, CRM_DECIDES, ("tolerance: 0.005, source_of_truth: enerflo", "source_of_truth: crm"))
    assert stored(desk) == before
    assert desk.context.calls.take() == {}


def test_past_decisions_are_made_again(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    note = desk.world.add_note(install, "Created, which no field decides.")
    run_poll(desk.context)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :id", id=note) == 1
    report = what_if(desk, CRM_DECIDES)
    assert report.plan == []
    assert report.decided >= 1
    assert report.not_decided["create"] >= 1
    (one,) = report.decisions
    assert (one.table_name, one.field, one.was, one.was_rule) == (
        "installs",
        "status",
        "to_crm",
        "only_side_moved",
    )
    assert (one.would_be, one.would_be_rule, one.count) == ("to_enerflo", "source_of_truth", 1)
    assert one.samples[0].new_value == "On Hold"
    text = render_what_if(report)
    assert (
        "written to the CRM at the time, written to Enerflo by the new mapping: the CRM is the source of truth"
        in text
    )


def test_what_would_be_in_the_way_is_told(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    report = what_if(desk, (STATUS, f"{STATUS}, direction: to_enerflo"))
    assert [(one.would_be, one.would_be_rule) for one in report.decisions] == [("keep", "direction")]
    report = what_if(desk, (f"      status: {{enerflo: status_name, {STATUS}}}\n", ""))
    assert [(one.would_be, one.would_be_rule) for one in report.decisions] == [("not_mapped", None)]


def test_a_void_that_would_be_barred_is_told(desk: Desk, install: int) -> None:
    desk.world.void_install(install)
    run_poll(desk.context)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    key = "    key: {enerflo_install_id: install_id}\n"
    report = what_if(desk, (key, f"{key}    void_in: [enerflo]\n"))
    assert [(one.field, one.would_be_rule, one.count) for one in report.decisions] == [("status", "void", 1)]


def test_older_decisions_are_left_out(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    desk.sql("update sync.ledger set recorded_at = recorded_at - interval '3 days'")
    assert what_if(desk, CRM_DECIDES, days=2).decided == 0
    assert what_if(desk, CRM_DECIDES, days=4).decided >= 1


def test_personal_data_in_samples_is_masked_by_the_stricter_mapping(desk: Desk, install: int) -> None:
    desk.sql(
        "update crm.installs set customer_name = 'Zoe Unmistakable', updated_at = now()"
        " where enerflo_install_id = :id",
        id=install,
    )
    report = what_if(desk, ("source_of_truth: enerflo, personal_data: name}", "source_of_truth: review}"))
    assert [one.field for one in report.plan] == ["customer_name"]
    assert b"nmistakable" not in msgspec.json.encode(report)
    assert "nmistakable" not in render_what_if(report)


def test_the_text_says_how_many_changes_it_does_not_show(desk: Desk, install: int) -> None:
    desk.sql("update crm.installs set status = 'On Hold', updated_at = '2020-01-01'")
    report = what_if(desk, CRM_DECIDES)
    one = max(report.plan, key=lambda one: one.count)
    assert one.count > len(one.samples) > 0
    assert f"      and {one.count - len(one.samples):,} more\n" in render_what_if(report)


def test_mistakes_in_the_new_file_are_said_as_ever(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(SHIPPED.read_text().replace("source_of_truth: newest", "source_of_truth: oldest"))
    with pytest.raises(InvalidConfigurationError, match="oldest"):
        run_what_if(desk.context, path, {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        run_what_if(desk.context, tmp_path / "none.yaml", {})
    path.write_text(SHIPPED.read_text().replace("  default:\n", "  other:\n"))
    with pytest.raises(ConfigurationError, match="no account default"):
        run_what_if(desk.context, path, {})
    path.write_text(SHIPPED.read_text().replace("crm_table: crm.installs", "crm_table: crm.houses"))
    with pytest.raises(ConfigurationError, match="houses"):
        run_what_if(desk.context, path, {})
