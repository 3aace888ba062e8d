"""A later plan that takes a plan's place between the yes and the task that writes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from enerflo_airflow.planning import ApplyPlanOperator

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs import apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.airflow_fixtures import Setting
from tests.plugins.test_planning import Answers, answers

__all__ = ["answers"]

pytestmark = pytest.mark.airflow


def write(answers: Answers, plan_hash: str) -> Any:
    """Run the task that writes a plan."""
    task = ApplyPlanOperator(task_id="write", account="default", plan_hash=plan_hash)
    context: Any = {"ti": answers, "task_instance": answers, "task": task, "dag_run": None}
    return task.execute(context)


@pytest.mark.parametrize("when", ["before the task", "as it begins"])
def test_a_later_plan_after_the_yes_skips_the_task_that_writes(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The later plan has what is still due: nothing is wrong, and nobody is to be woken."""
    answers.answer("Approve")
    if when == "before the task":
        answers.a_later_plan_comes()
    else:
        copied = apply.run_copy

        def planned_meanwhile(*given: Any, **named: Any) -> Any:
            monkeypatch.setattr(apply, "run_copy", copied)
            answers.a_later_plan_comes()
            return copied(*given, **named)

        monkeypatch.setattr(apply, "run_copy", planned_meanwhile)
    with pytest.raises(AirflowSkipException, match="A later plan took the plan's place"):
        write(answers, answers.plan_hash)
    assert answers.stored == ("superseded", "Pat")
    assert f"plan {answers.plan_hash[:12]} was superseded before all of it was written" in answers.note


def test_a_later_plan_after_the_yes_of_an_undo_is_a_failure(
    connected: Setting, notes: dict[str, str], tmp_path: Path
) -> None:
    """No later plan has what the undo should take back: somebody must ask for it again."""
    from enerflo_airflow.hook import open_account

    config = tmp_path / "sync.yaml"
    text = config.read_text()
    assert "mode: report" in text
    config.write_text(text.replace("mode: report", "mode: crm"))
    with closing(open_account("default", reads_enerflo=True)) as place:
        run_poll(place)
        asked = Answers(place, notes)
        assert apply.run_apply(place, asked.plan_hash, approved_by="Pat").applied
        undo = run_undo(place, asked.plan_hash)
        run_approve(place, undo.plan_hash, by="Pat")
        asked.a_later_plan_comes()
        with pytest.raises(ConfigurationError, match=r"it was superseded: .* enerflo-sync undo"):
            write(asked, undo.plan_hash)
