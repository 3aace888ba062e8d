"""Errors for Enerflo's answers, grouped by what the caller does next (REFERENCE.md §12).

No error text contains a body, a key or the query of an address.
"""

from __future__ import annotations

from enerflo_sync.errors import FatalError, NotFoundError, RetriableError


class VendorRefusedError(FatalError):
    """Enerflo refused the request and will refuse the same request again.

    Also raised for a 200 that contains ``{"success": false}`` (REFERENCE.md §3).

    :param status: the HTTP status of the refusal, 200 for a refusal inside a 200.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "", status: int = 200) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.status = status


class AuthenticationError(VendorRefusedError):
    """The API key is not accepted (401). Every further call fails too: do not retry."""


class PermissionRefusedError(VendorRefusedError):
    """The key is valid but lacks permission (403, or a 200 saying ``Access not Permitted``).

    Enerflo also answers 403 to ``PUT /api/v3/customers/{id}`` while the record is still an unconverted lead
    (REFERENCE.md §6.4).
    """


class OutcomeUnknownError(RetriableError):
    """A write may or may not have been applied: read the record back before sending it again."""


class DeletedRecordError(NotFoundError):
    """Enerflo shows the record and says when it was deleted (``deleted_at``, REFERENCE.md §8)."""


class AnswerTooHeavyError(RetriableError):
    """The server could not deliver the page (500, 502, 504, time-out, over the size cap): request fewer rows.

    Raised only for reads declared shrinkable, after one attempt; other reads are retried.
    """
