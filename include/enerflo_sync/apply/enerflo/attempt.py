"""One write to Enerflo, and how its response is classified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from enerflo_sync.enerflo.failures import (
    AuthenticationError,
    OutcomeUnknownError,
    VendorRefusedError,
)
from enerflo_sync.errors import (
    BadRecordError,
    ContractDriftError,
    FatalError,
    NotFoundError,
    RetriableError,
)


class CallOutcome(StrEnum):
    """The result of one write, as far as the response shows it."""

    ACCEPTED = "accepted"
    # Enerflo answered 200 with a refusal in the body; only a read shows whether the write was made.
    DENIED = "denied"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNSENT = "unsent"


@dataclass(frozen=True)
class Attempt:
    """The result of one attempt to write.

    :param reason: why the write was refused, and what to do.
    :param value: the value that the write returned.
    """

    outcome: CallOutcome
    reason: str = ""
    value: Any = None

    @property
    def in_doubt(self) -> bool:
        """Return whether the response was lost, or no request was sent."""
        return self.outcome in (CallOutcome.UNKNOWN, CallOutcome.UNSENT)

    @property
    def may_be_there(self) -> bool:
        """Return whether the write may have been made, so that the record must be read."""
        return self.outcome in (CallOutcome.ACCEPTED, CallOutcome.DENIED, CallOutcome.UNKNOWN)


_REASONS = {
    403: "Enerflo does not let this key write it (403): give the key's user the right.",
    404: "not there (404): Enerflo has no such record, or no such endpoint.",
    413: "Enerflo takes nothing of this size (413): shorten it.",
    422: "Enerflo refused the values (422): correct them, or check the field names under writes.",
}


def attempted(write: Callable[[], object], refusals: Mapping[int, str]) -> Attempt:
    """Make a write and return its result.

    :param refusals: by HTTP status, the reason of a refusal if it is not the usual one.
    :raises AuthenticationError: the API key is not accepted (401), so nothing can be written.
    :raises ConfigurationError: Enerflo's address is wrong.
    """
    try:
        return Attempt(CallOutcome.ACCEPTED, value=write())
    except AuthenticationError:
        raise
    except OutcomeUnknownError:
        return Attempt(CallOutcome.UNKNOWN)
    except RetriableError as error:
        return Attempt(CallOutcome.UNSENT, type(error).__name__)
    except ContractDriftError:
        return Attempt(CallOutcome.ACCEPTED)
    except BadRecordError as error:
        return Attempt(CallOutcome.REFUSED, f"it cannot be sent: {error.what}")
    except FatalError as error:
        status = _status(error)
        if status == 200:
            return Attempt(CallOutcome.DENIED, "Enerflo answered 200 with a refusal and did not keep it.")
        reason = refusals.get(status or 0) or _usual_reason(status)
        return Attempt(CallOutcome.REFUSED, reason)


def _usual_reason(status: int | None) -> str:
    if status in _REASONS:
        return _REASONS[status]
    return f"Enerflo refused the request ({status or 'for good'}): correct what is sent."


def _status(error: FatalError) -> int | None:
    if isinstance(error, NotFoundError):
        return 404
    return error.status if isinstance(error, VendorRefusedError) else None
