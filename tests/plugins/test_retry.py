"""Which errors are worth another try of a task."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import RetryAction
from enerflo_airflow.retry import EnerfloRetryPolicy

from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import (
    ConfigurationError,
    ConflictError,
    ContractDriftError,
    EnerfloSyncError,
    FatalError,
    RetriableError,
)

POLICY = EnerfloRetryPolicy()


@pytest.mark.parametrize(
    "kind",
    [
        AuthenticationError,
        ConfigurationError,
        FatalError,
        ContractDriftError,
        ConflictError,
        EnerfloSyncError,
    ],
)
def test_what_only_a_person_can_change_fails_at_once(kind: type[EnerfloSyncError]) -> None:
    decision = POLICY.evaluate(kind("It is wrong.", where="here", next_step="Change it."), 1, 3)
    assert decision.action is RetryAction.FAIL
    assert decision.reason == "here: It is wrong. Change it."


def test_what_may_work_later_is_tried_again_after_the_tasks_own_delay() -> None:
    decision = POLICY.evaluate(RetriableError("The host is away."), 1, 3)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is None
    assert decision.reason == "The host is away."


@pytest.mark.parametrize(("asked", "waits"), [(90.0, 90), (0.0, 1), (86_400.0, 3_600)])
def test_the_wait_that_the_vendor_asks_for_is_kept_within_an_hour(asked: float, waits: int) -> None:
    decision = POLICY.evaluate(RetriableError("The limit is used up.", retry_after=asked), 2, 3)
    assert decision.retry_delay == timedelta(seconds=waits)


def test_errors_of_others_follow_the_task() -> None:
    assert POLICY.evaluate(ValueError("what"), 1, 3).action is RetryAction.DEFAULT


def test_the_policy_survives_serialization() -> None:
    policy = EnerfloRetryPolicy(timedelta(minutes=5))
    assert EnerfloRetryPolicy.deserialize(policy.serialize()).longest_wait == timedelta(minutes=5)
