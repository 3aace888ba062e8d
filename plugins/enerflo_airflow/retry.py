"""Which errors a task is tried again for: the engine's grouping, said in Airflow's words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryDecision

from enerflo_sync.errors import EnerfloSyncError, RetriableError


class EnerfloRetryPolicy(RetryPolicy):
    """Retries what may work later, and fails at once what only a person can change.

    A :class:`RetriableError` is retried, after the seconds that the other side asked for where it did; any
    other error of ours (wrong key, wrong mapping, a form that this version does not know) fails the task
    without a retry. Errors of others follow the task's own settings.

    :param longest_wait: upper bound of a wait that the other side asked for.
    """

    def __init__(self, longest_wait: timedelta = timedelta(hours=1)) -> None:
        self.longest_wait = longest_wait

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Return what to do about ``exception``, with its text as the reason."""
        if isinstance(exception, RetriableError):
            wait = exception.retry_after
            delay = None if wait is None else min(timedelta(seconds=max(wait, 1.0)), self.longest_wait)
            return RetryDecision.retry(delay, str(exception))
        if isinstance(exception, EnerfloSyncError):
            return RetryDecision.fail(str(exception))
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return what describes the policy in a serialized DAG."""
        return {"__type": type(self).__name__, "longest_wait": self.longest_wait.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EnerfloRetryPolicy:
        """Return the policy that :meth:`serialize` described."""
        return cls(timedelta(seconds=data["longest_wait"]))
