"""What is sent, how one attempt at it failed, and what remains to be said when no further one follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from enerflo_sync.enerflo.retry import Fault
from enerflo_sync.errors import ContractDriftError, FatalError, RetriableError


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that gave no usable answer and may be repeated.

    :param reached: whether the request may have reached the server.
    :param what: what happened, a clause without a full stop.
    :param next_step: what to change when it stays like that.
    :param retry_after: seconds the vendor asked to wait.
    :param heavy: whether asking for fewer rows may help.
    """

    fault: Fault
    reached: bool
    what: str
    next_step: str
    retry_after: float | None = None
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: the same for each attempt."""

    method: str
    path: str
    params: Mapping[str, str | int] | None
    body: bytes | None

    @property
    def is_write(self) -> bool:
        """Whether sending it twice could change something twice."""
        return self.body is not None

    @property
    def where(self) -> str:
        """Method and path, without the query."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Seen:
    """What one attempt has seen so far, for the counters."""

    status: int | None = None
    bytes: int = 0
    failed: bool = True


def give_up(request: Request, failed: FailedAttempt, tried: int, spent: float) -> NoReturn:
    """Raise what the last of ``tried`` attempts means for the caller.

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
