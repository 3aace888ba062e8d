"""What Enerflo's answers raise, by what the caller does next (REFERENCE.md §12).

None of these texts holds a body, a key or the query part of an address.
"""

from __future__ import annotations

from enerflo_sync.errors import FatalError, RetriableError


class VendorRefusedError(FatalError):
    """Enerflo understood the request and said no; the same request will be refused again.

    Also raised for the 200 that carries ``{"success": false}`` (REFERENCE.md §3).

    :param status: the HTTP status of the refusal, 200 for a refusal inside a 200.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "", status: int = 200) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.status = status


class AuthenticationError(VendorRefusedError):
    """The API key is not accepted (401): every further call with it fails too, so do not retry."""


class PermissionRefusedError(VendorRefusedError):
    """The key is valid and may not do this (403, or a 200 saying ``Access not Permitted``).

    Enerflo also answers 403 to ``PUT /api/v3/customers/{id}`` while the record is still an unconverted
    lead (REFERENCE.md §6.4).
    """


class OutcomeUnknownError(RetriableError):
    """A write may or may not have been applied: read the record back before sending it again."""


class AnswerTooHeavyError(RetriableError):
    """A page was too heavy for the server (500, 502, 504, time-out, over the size cap): ask for fewer rows.

    Only raised for reads that were declared shrinkable, after one try; everything else is retried.
    """
