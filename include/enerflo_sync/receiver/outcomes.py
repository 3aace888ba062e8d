"""The outcomes of a post, and the HTTP status of each."""

from __future__ import annotations

from enum import StrEnum


class PostOutcome(StrEnum):
    """The outcome of one post, for counters and logs."""

    STORED = "stored"
    UNKNOWN_HOOK = "unknown_hook"
    BAD_SIGNATURE = "bad_signature"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    TOO_SLOW = "too_slow"
    ABORTED = "aborted"
    OVERLOADED = "overloaded"
    NOT_STORED = "not_stored"
    FAILED = "failed"

    @property
    def status(self) -> int:
        """Return the HTTP status for the sender."""
        return _STATUS[self]


# Nobody receives the status of ABORTED, because the sender has disconnected.
_STATUS = {
    PostOutcome.STORED: 200,
    PostOutcome.UNKNOWN_HOOK: 404,
    PostOutcome.BAD_SIGNATURE: 401,
    PostOutcome.UNSUPPORTED: 415,
    PostOutcome.TOO_LARGE: 413,
    PostOutcome.EMPTY: 400,
    PostOutcome.TOO_SLOW: 408,
    PostOutcome.ABORTED: 400,
    PostOutcome.OVERLOADED: 503,
    PostOutcome.NOT_STORED: 503,
    PostOutcome.FAILED: 500,
}


class RefusedError(Exception):
    """A post is refused, and no part of it is in the drop.

    :param outcome: how it ended.
    :param detail: text for the sender; never quotes the request.
    :param retry_after: seconds after which the same post may succeed.
    """

    def __init__(self, outcome: PostOutcome, detail: str, retry_after: int | None = None) -> None:
        self.outcome = outcome
        self.detail = detail
        self.retry_after = retry_after
        super().__init__(outcome, detail)
