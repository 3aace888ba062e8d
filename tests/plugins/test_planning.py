"""What becomes of an answer to a plan, also when the plan does not wait for one any more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.standard.exceptions import HITLTriggerEventError
from airflow.providers.standard.operators import hitl
from airflow.sdk import DAG, BaseOperator, Param, RetryAction
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped, TaskAwaitingInput
from enerflo_airflow import hook
from enerflo_airflow.approval_form import answered_form
from enerflo_airflow.approving import PlanApprovalOperator
from enerflo_airflow.planning import ApplyPlanOperator
from enerflo_airflow.retry import EnerfloRetryPolicy

from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs import approval
from enerflo_sync.jobs.approval import read_refusals, run_approve, run_reject
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.report import PlanState
from tests.airflow_fixtures import Setting

pytestmark = pytest.mark.airflow


class Answers:
    """The task that asks about a plan, told what was answered; it keeps what the task hands on."""

    map_index, id = -1, "one task"
    dag_id, task_id, run_id = "asking", "ask", "once"

    def __init__(self, place: AccountContext, notes: dict[str, str], *, second: bool = False) -> None:
        self.place = place
        self.notes = notes
        self.handed_on: dict[str, Any] = {}
        self.plan_hash = run_plan(place)[0].plan_hash
        with DAG("asking", schedule=None, params={"plan_hash": Param("", type="string")}):
            self.task = PlanApprovalOperator(
                task_id="ask", account="default", plan=None, answer_within=timedelta(hours=1), second=second
            )
            self.task >> BaseOperator(task_id="apply")
        self.task.plan = {"plan_hash": self.plan_hash, "account": "default", "summary": "Changes"}

    def ask(self) -> Any:
        """Let the task begin; it returns where nobody has to be asked."""
        context: Any = {"ti": self, "task_instance": self, "task": self.task, "dag_run": None}
        return self.task.execute(context)

    def xcom_push(self, key: str, value: Any) -> None:
        self.handed_on[key] = value

    def answer(self, option: str, who: str | None = "Pat", *, dag_run: Any = None, **more: Any) -> None:
        event = {
            "chosen_options": [option],
            "params_input": {},
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": "1", "name": who} if who else None,
            **more,
        }
        context: Any = {"ti": self, "task_instance": self, "task": self.task, "dag_run": dag_run}
        self.task.execute_complete(context, event)

    @property
    def states(self) -> dict[str, set[str]]:
        """Return the states of the plan's changes by table."""
        query = sa.text(
            "select distinct table_name, state from sync.plan_changes where plan_hash = :plan_hash"
        )
        found: dict[str, set[str]] = {}
        with self.place.engine.connect() as connection:
            for table, state in connection.execute(query, {"plan_hash": self.plan_hash}):
                found.setdefault(table, set()).add(state)
        return found

    @property
    def note(self) -> str:
        return self.notes["ask"]

    @property
    def stored(self) -> tuple[str, str | None]:
        query = "select state, decided_by from sync.plans where plan_hash = :plan_hash"
        with self.place.engine.connect() as connection:
            state, who = connection.execute(sa.text(query), {"plan_hash": self.plan_hash}).one()
        return state, who

    def a_later_plan_comes(self) -> None:
        with self.place.engine.begin() as connection:
            connection.exec_driver_sql("update crm.installs set panel_count = 1, updated_at = now()")
        assert run_plan(self.place)[0].plan_hash != self.plan_hash


@pytest.fixture
def answers(connected: Setting, notes: dict[str, str]) -> Iterator[Answers]:
    from enerflo_airflow.hook import open_account

    with closing(open_account("default", reads_enerflo=True)) as place:
        run_poll(place)
        yield Answers(place, notes)


def test_a_yes_is_stored_with_the_plan(answers: Answers) -> None:
    answers.answer("Approve")
    assert answers.stored == ("approved", "Pat")
    assert answers.note == f"plan {answers.plan_hash[:12]} is approved (Pat)"


def test_a_no_is_stored_and_skips_what_follows(answers: Answers) -> None:
    with pytest.raises(DownstreamTasksSkipped):
        answers.answer("Reject")
    assert answers.stored == ("rejected", "Pat")


def test_no_answer_in_time_is_a_no_of_nobody(answers: Answers) -> None:
    with pytest.raises(DownstreamTasksSkipped):
        answers.answer("Reject", None, timedout=True)
    assert answers.stored == ("rejected", None)
    assert answers.note.endswith("is rejected (nobody answered in time)")
    assert run_plan(answers.place)[0].state is PlanState.OPEN


def test_a_yes_of_nobody_approves_nothing(answers: Answers) -> None:
    answers.answer("Approve", None)
    assert answers.stored == ("rejected", None)


@pytest.mark.parametrize(("option", "who"), [("Approve", "Pat"), ("Reject", "Pat"), ("Reject", None)])
def test_an_answer_after_a_later_plan_decides_nothing_and_fails_nothing(
    answers: Answers, option: str, who: str | None
) -> None:
    answers.a_later_plan_comes()
    with pytest.raises(AirflowSkipException):
        answers.answer(option, who)
    assert answers.stored == ("superseded", None)
    assert "was superseded: a later plan took its place" in answers.note


def test_a_part_may_be_approved_in_the_form(answers: Answers) -> None:
    answers.answer("Approve", params_input={"only": "leads", "rest": "open"})
    assert answers.stored == ("approved", "Pat")
    assert answers.states["leads"] == {"planned"}
    assert {state for table, found in answers.states.items() if table != "leads" for state in found} <= {
        "left_out"
    }
    assert "decided about leads" in answers.note


def test_every_field_that_the_form_shows_may_be_answered(answers: Answers) -> None:
    """Airflow's page sends each field, also those that nobody filled in."""
    shown = answers.task.serialized_params
    answers.answer("Approve", params_input={name: param["value"] for name, param in shown.items()})
    assert answers.stored == ("approved", "Pat")
    assert "decided about" not in answers.note


def test_an_answer_stays_with_the_task_that_was_answered(answers: Answers) -> None:
    answers.answer("Approve", params_input={"only": "leads"})
    assert answered_form({}) == {"only": "", "except": "", "rest": "open", "because": ""}


def test_a_part_may_be_rejected_in_the_form_with_a_reason(answers: Answers) -> None:
    with pytest.raises(DownstreamTasksSkipped):
        answers.answer("Reject", params_input={"except": "installs", "because": "too many"})
    assert answers.stored == ("open", None)
    assert answers.states["leads"] == {"refused"}
    assert {one.reason for one in read_refusals(answers.place)} == {"too many"}


def test_a_form_that_names_nothing_of_the_plan_decides_nothing(answers: Answers) -> None:
    with pytest.raises(ConfigurationError, match="nothing of the plan fits"):
        answers.answer("Approve", params_input={"only": "lead"})
    with pytest.raises(ConfigurationError, match="the field onyl is not known"):
        answers.answer("Approve", params_input={"onyl": "leads"})
    assert answers.stored == ("open", None)


def test_while_time_is_left_a_look_asks_on_and_ends_what_was_superseded(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **detail: asked.append(detail))
    run = SimpleNamespace(start_date=datetime.now(UTC))
    answers.task.plan = {"account": "default", "plan_hash": answers.plan_hash, "summary": "Changes"}
    with pytest.raises(TaskAwaitingInput) as awaited:
        answers.answer("Reject", None, timedout=True, dag_run=run)
    assert len(asked) == 1
    assert awaited.value.timeout == PlanApprovalOperator.look_every
    assert answers.stored == ("open", None)
    answers.a_later_plan_comes()
    with pytest.raises(AirflowSkipException):
        answers.answer("Reject", None, timedout=True, dag_run=run)
    assert answers.stored == ("superseded", None)


def test_a_trigger_that_failed_decides_nothing(answers: Answers) -> None:
    with pytest.raises(HITLTriggerEventError):
        answers.answer("Reject", None, error="it broke", error_type="unknown")
    assert answers.stored == ("open", None)


def test_what_was_approved_elsewhere_is_applied_if_it_is_approved_once_more(answers: Answers) -> None:
    run_approve(answers.place, answers.plan_hash, by="Sam Hill", undecided=True)
    answers.answer("Approve")
    assert answers.stored == ("approved", "Sam Hill")
    assert "is approved already by Sam Hill on 20" in answers.note


def test_a_no_wins_over_a_yes_elsewhere_of_which_nothing_was_written(answers: Answers) -> None:
    """The worker that takes the answer up may be late: the no may have been given first."""
    run_approve(answers.place, answers.plan_hash, by="Sam Hill", undecided=True)
    with pytest.raises(DownstreamTasksSkipped):
        answers.answer("Reject")
    assert answers.stored == ("rejected", "Pat")
    assert answers.note == f"plan {answers.plan_hash[:12]} is rejected (Pat)"
    assert {one.decided_by for one in read_refusals(answers.place)} == {"Pat"}


def away(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the warehouse not answer so many times."""
    opened, tries = hook.open_account, itertools.count(1)

    def open_account(*given: Any, **named: Any) -> Any:
        if next(tries) <= times:
            raise RetriableError("the server could not be reached.", where="warehouse")
        return opened(*given, **named)

    monkeypatch.setattr(hook, "open_account", open_account)
    monkeypatch.setattr(PlanApprovalOperator, "pauses", (0, 0))


def test_a_no_is_stored_although_the_warehouse_is_away_for_a_while(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry of the task would ask anew, and Airflow would forget the no."""
    away(monkeypatch, 2)
    with pytest.raises(DownstreamTasksSkipped):
        answers.answer("Reject")
    assert answers.stored == ("rejected", "Pat")


@pytest.mark.parametrize(("option", "said"), [("Approve", "approval"), ("Reject", "rejection")])
def test_an_answer_that_could_not_be_stored_is_no_retry_and_says_so(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, option: str, said: str
) -> None:
    away(monkeypatch, 3)
    with pytest.raises(ConfigurationError, match=f"the {said} by Pat could not be stored") as told:
        answers.answer(option)
    assert EnerfloRetryPolicy().evaluate(told.value, 1, 3).action is RetryAction.FAIL
    assert answers.stored == ("open", None)


def test_a_no_after_the_answer_skips_the_task_that_writes(answers: Answers) -> None:
    answers.answer("Approve")
    run_reject(answers.place, answers.plan_hash, by="Sam Hill")
    task = ApplyPlanOperator(task_id="write", account="default", plan_hash=answers.plan_hash)
    context: Any = {"ti": answers, "task_instance": answers, "task": task, "dag_run": None}
    with pytest.raises(AirflowSkipException, match="Somebody rejected the plan"):
        task.execute(context)
    assert "is rejected already by Sam Hill on 20" in answers.note


@pytest.mark.parametrize(("elsewhere", "stored"), [(run_approve, "approved"), (run_reject, "rejected")])
def test_a_yes_that_crosses_a_decision_elsewhere_changes_nothing(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, elsewhere: Any, stored: str
) -> None:
    read = approval.read_first_approval

    def decided_meanwhile(place: AccountContext, plan_hash: str) -> Any:
        found = read(place, plan_hash)
        elsewhere(place, plan_hash, by="Sam Hill")
        return found

    monkeypatch.setattr(approval, "read_first_approval", decided_meanwhile)
    with suppress(AirflowSkipException):
        answers.answer("Approve")
    assert answers.stored == (stored, "Sam Hill")
    assert f"is {stored} already by Sam Hill on 20" in answers.note
    assert answers.states["leads"] == {"planned" if stored == "approved" else "refused"}


def test_what_was_rejected_elsewhere_stays_so_whatever_is_answered_later(answers: Answers) -> None:
    run_reject(answers.place, answers.plan_hash, by="Sam Hill", reason="no", undecided=True)
    with pytest.raises(AirflowSkipException, match="rejected already by Sam Hill on 20"):
        answers.answer("Approve")
    assert answers.stored == ("rejected", "Sam Hill")


def test_the_next_look_sees_who_decided_elsewhere(answers: Answers) -> None:
    run_approve(answers.place, answers.plan_hash, by="Sam Hill", undecided=True)
    answers.task.plan = {"plan_hash": answers.plan_hash, "account": "default", "summary": ""}
    context: Any = {"ti": answers, "task_instance": answers, "task": answers.task, "dag_run": None}
    assert answers.task.execute(context) == {"needed": False, "plan_hash": answers.plan_hash}
    assert "is approved already by Sam Hill on 20" in answers.note


@pytest.fixture
def two_persons(
    connected: Setting, notes: dict[str, str], tmp_path: Path
) -> Iterator[tuple[Answers, Answers]]:
    """The tasks that ask the first and the second of two persons about one plan."""
    from enerflo_airflow.hook import open_account

    config = tmp_path / "sync.yaml"
    text = config.read_text()
    assert "first_to_enerflo: true" in text
    config.write_text(text.replace("first_to_enerflo: true", "first_to_enerflo: true\n  second_person: true"))
    with closing(open_account("default", reads_enerflo=True)) as place:
        run_poll(place)
        yield Answers(place, notes), Answers(place, notes, second=True)


def test_the_second_task_asks_another_person_and_names_the_first(
    two_persons: tuple[Answers, Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two_persons
    asked: list[Any] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **detail: asked.append(detail))
    first.answer("Approve", params_input={"only": "leads"})
    assert first.stored == ("open", None)
    assert "is open and waits for a second person (Pat): decided about leads" in first.note
    # A look of the first task, and the second task.
    assert first.ask() == {"needed": False, "plan_hash": first.plan_hash}
    with pytest.raises(TaskAwaitingInput):
        second.ask()
    assert asked[-1]["body"].startswith("Pat approved it on 20")
    assert asked[-1]["params"]["only"]["value"] == "leads"
    # The first person again is asked for somebody else.
    with pytest.raises(TaskAwaitingInput):
        second.answer("Approve", "pat")
    assert second.stored == ("open", None)
    second.answer("Approve", "Sam")
    assert second.stored == ("approved", "Pat and Sam")
    assert second.states["leads"] == {"planned"}
    assert second.ask() == {"needed": False, "plan_hash": second.plan_hash}


def test_a_no_of_the_second_person_is_a_no(two_persons: tuple[Answers, Answers]) -> None:
    first, second = two_persons
    first.answer("Approve")
    with pytest.raises(DownstreamTasksSkipped):
        second.answer("Reject", "Sam")
    assert second.stored == ("rejected", "Sam")


def test_no_second_answer_in_time_is_a_no_of_nobody(two_persons: tuple[Answers, Answers]) -> None:
    first, second = two_persons
    first.answer("Approve")
    with pytest.raises(DownstreamTasksSkipped):
        second.answer("Reject", None, timedout=True)
    assert second.stored == ("rejected", None)
