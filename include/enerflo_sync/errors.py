"""Errors grouped by what the caller does next, so that retrying and exiting are decided in one place.

Every text says what happened, where (ids, paths, status codes) and what to do next. It never holds a
response body, a key, a signed URL or personal data.
"""

from __future__ import annotations

from typing import Any

from enerflo_sync.steering import shown


class EnerfloSyncError(Exception):
    """Base of every error this package raises on purpose.

    :param what: one sentence: what was found, and what was expected.
    :param where: the place: an endpoint, a file and line, a table and key. Never a secret.
    :param next_step: what the reader should do now.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what, where, next_step)

    def __reduce__(self) -> tuple[Any, ...]:
        # Airflow and multiprocessing pickle errors; BaseException would call __init__ with positions only.
        return _rebuilt, (type(self), self.__dict__)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        # It may quote a name that somebody wrote, and stands in logs and pages.
        return shown(f"{text} {self.next_step}" if self.next_step else text)


def _rebuilt(kind: type[EnerfloSyncError], state: dict[str, Any]) -> EnerfloSyncError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (error.what, error.where, error.next_step)
    return error


class ConfigurationError(EnerfloSyncError):
    """The set-up is wrong (file, URL, key, mapping, missing migration): fix it; retrying cannot help."""


class FatalError(EnerfloSyncError):
    """The other side refused for good (401, 403, 422): stop this call, tell a person."""


class NotFoundError(FatalError):
    """The record does not exist at the vendor (404): evidence for the deletion rule, not a fault."""


class RetriableError(EnerfloSyncError):
    """It may work later (429, 5xx, dropped connection, database restarting): run it again.

    :param retry_after: seconds to wait before the next try, where the other side said so.
    """

    def __init__(
        self, what: str, *, where: str = "", next_step: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.retry_after = retry_after


class BadRecordError(EnerfloSyncError):
    """One record cannot be used: quarantine it under its reason and go on with the others.

    :param field: dotted path of the offending field, ``""`` for the whole record.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "", field: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.field = field


def bad_record(error: Exception) -> BadRecordError:
    """Return the trouble of the one record whose reading raised ``error``, whatever kind of error that is.

    The one seam between a record and everybody else: who reads a record catches every ``Exception`` of the
    reading, and quarantines that record alone. Only the type's name is kept, since an error's text may hold
    the record.
    """
    if isinstance(error, BadRecordError):
        return error
    if isinstance(error, RecursionError):
        return BadRecordError("nested_too_deep")
    return BadRecordError(f"unreadable: {type(error).__name__}")


class ContractDriftError(EnerfloSyncError):
    """The vendor answers in a form that this version does not know: stop, report it, update the client."""


class ConflictError(EnerfloSyncError):
    """Something moved under a decision that was already made: decide again from the present values."""
