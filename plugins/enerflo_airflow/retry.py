"""Decides which errors to retry: the engine's groups of errors, as an Airflow policy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from enerflo_sync.errors import EnerfloSyncError, RetriableError


class EnerfloRetryPolicy(RetryPolicy):
    """Retries what may succeed later, and fails at once for what only a person can change.

    A :class:`RetriableError` is retried, after the seconds that the other side asked for, if any. Any other
    error of ours (wrong key, wrong mapping, unknown form of an answer) fails the task without a retry. Other
    errors follow the task's own settings.

    :param longest_wait: upper bound of a wait that the other side asked for.
    """

    def __init__(self, longest_wait: timedelta = timedelta(hours=1)) -> None:
        self.longest_wait = longest_wait

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Return the decision for ``exception``, with its text as the reason."""
        if isinstance(exception, RetriableError):
            wait = exception.retry_after
            delay = None if wait is None else min(timedelta(seconds=max(wait, 1.0)), self.longest_wait)
            return RetryDecision.retry(delay, str(exception))
        if isinstance(exception, EnerfloSyncError):
            return RetryDecision.fail(str(exception))
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the policy's form in a serialized DAG."""
        return {"__type": type(self).__name__, "longest_wait": self.longest_wait.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EnerfloRetryPolicy:
        """Return the policy from the result of :meth:`serialize`."""
        return cls(timedelta(seconds=data["longest_wait"]))
