"""A request, one failed attempt at it, and the error to raise after the last attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from enerflo_sync.enerflo.retry import Fault
from enerflo_sync.errors import ContractDriftError, FatalError, RetriableError


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt without a usable answer; the client may repeat it.

    :param reached: whether the request may have reached the server.
    :param what: what happened, as a clause without a full stop.
    :param next_step: what to change if the fault persists.
    :param retry_after: seconds that the vendor asked to wait.
    :param heavy: whether requesting fewer rows may help.
    """

    fault: Fault
    reached: bool
    what: str
    next_step: str
    retry_after: float | None = None
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request, identical for each attempt."""

    method: str
    path: str
    params: Mapping[str, str | int] | None
    body: bytes | None

    @property
    def is_write(self) -> bool:
        """Whether sending the request twice could change something twice."""
        return self.body is not None

    @property
    def where(self) -> str:
        """Method and path, without the query."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Seen:
    """The status and size seen during one attempt, for the counters."""

    status: int | None = None
    bytes: int = 0
    failed: bool = True


def give_up(request: Request, failed: FailedAttempt, tried: int, spent: float) -> NoReturn:
    """Raise the error that the caller gets after the last of ``tried`` attempts failed.

    :param spent: seconds spent trying and waiting.
    """
    times = "once" if tried == 1 else f"{tried} times in {spent:.0f} s"
    what = f"{failed.what} (tried {times})."
    if failed.fault is Fault.NOT_JSON:
        raise ContractDriftError(what, where=request.where, next_step=failed.next_step)
    if failed.fault is Fault.TOO_LARGE:
        raise FatalError(what, where=request.where, next_step=failed.next_step)
    raise RetriableError(
        what, where=request.where, next_step=failed.next_step, retry_after=failed.retry_after
    )
