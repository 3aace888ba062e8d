"""What becomes of an answer to a plan, also when the plan does not wait for one any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.standard.exceptions import HITLTriggerEventError
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import DownstreamTasksSkipped
from enerflo_airflow.notes import NOTE_KEY
from enerflo_airflow.planning import PlanApprovalOperator

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs import Workplace
from enerflo_sync.sync.plan_report import PlanState
from tests.airflow_fixtures import Setting

pytestmark = pytest.mark.airflow


class Answers:
    """The task that asks about a plan, told what was answered; it keeps what the task hands on."""

    map_index = -1

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.handed_on: dict[str, Any] = {}
        self.plan_hash = place.plan().plan_hash
        with DAG("asking", schedule=None):
            self.task = PlanApprovalOperator(
                task_id="ask", account="default", plan=None, answer_within=timedelta(hours=1)
            )
            self.task >> BaseOperator(task_id="apply")
        self.task.plan = {"plan_hash": self.plan_hash}

    def xcom_push(self, key: str, value: Any) -> None:
        self.handed_on[key] = value

    def answer(self, option: str, who: str | None = "Pat", **more: Any) -> None:
        event = {
            "chosen_options": [option],
            "params_input": {},
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": "1", "name": who} if who else None,
            **more,
        }
        context: Any = {"ti": self, "task": self.task}
        self.task.execute_complete(context, event)

    @property
    def note(self) -> str:
        return str(self.handed_on[NOTE_KEY])

    @property
    def stored(self) -> tuple[str, str | None]:
        query = "select state, decided_by from sync.plans where plan_hash = :plan_hash"
        with self.place.engine.connect() as connection:
            state, who = connection.execute(sa.text(query), {"plan_hash": self.plan_hash}).one()
        return state, who

    def a_later_plan_comes(self) -> None:
        with self.place.engine.begin() as connection:
            connection.exec_driver_sql("update crm.installs set panel_count = 1, updated_at = now()")
        assert self.place.plan().plan_hash != self.plan_hash


@pytest.fixture
def answers(connected: Setting) -> Iterator[Answers]:
    from enerflo_airflow.hook import workplace

    with closing(workplace("default", reads_enerflo=True)) as place:
        place.poll()
        yield Answers(place)


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
    assert answers.place.plan().state is PlanState.OPEN


def test_a_yes_of_nobody_approves_nothing(answers: Answers) -> None:
    answers.answer("Approve", None)
    assert answers.stored == ("rejected", None)


def test_a_yes_after_a_later_plan_fails_and_says_what_to_do(answers: Answers) -> None:
    answers.a_later_plan_comes()
    with pytest.raises(ConfigurationError, match=r"it has expired\. Make a new one"):
        answers.answer("Approve")
    assert answers.stored == ("expired", None)
    assert "it has expired" in answers.note


@pytest.mark.parametrize("who", ["Pat", None])
def test_a_no_after_a_later_plan_skips_what_follows(answers: Answers, who: str | None) -> None:
    answers.a_later_plan_comes()
    with pytest.raises(DownstreamTasksSkipped):
        answers.answer("Reject", who)
    assert answers.stored == ("expired", None)


def test_a_trigger_that_failed_decides_nothing(answers: Answers) -> None:
    with pytest.raises(HITLTriggerEventError):
        answers.answer("Reject", None, error="it broke", error_type="unknown")
    assert answers.stored == ("open", None)
