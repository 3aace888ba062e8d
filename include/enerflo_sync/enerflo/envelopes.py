"""How each list endpoint wraps its rows, said declaratively (REFERENCE.md §3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgspec

from enerflo_sync.enerflo.answers import refuse_if_unsuccessful
from enerflo_sync.errors import ContractDriftError


class Listing(msgspec.Struct, frozen=True):
    """One answer of a list endpoint.

    :param records: the rows as undecoded JSON; each keeps the whole answer's bytes alive.
    :param total: rows in all, where the endpoint says it.
    :param total_pages: pages of the asked size in all, where the endpoint says it.
    """

    records: list[msgspec.Raw]
    total: int | None
    total_pages: int | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The keys and parameters of one list endpoint.

    :param records_key: where the rows are; several names are tried in order where the vendor's is unsure.
    :param total_key: where the number of all rows is.
    :param total_pages_key: where the number of all pages is.
    :param page_param: the query parameter of the page number, 1-based.
    :param size_param: the query parameter of the page size; several where the vendor's is unsure.
    :param ok_key: the flag that is false in a 200 that is none.
    """

    records_key: str | tuple[str, ...]
    total_key: str | tuple[str, ...] = ()
    total_pages_key: str | tuple[str, ...] = ()
    page_param: str = "page"
    size_param: str | tuple[str, ...] = "per_page"
    ok_key: str = "success"

    def page_params(self, number: int, size: int) -> dict[str, str | int]:
        """Return the query parameters that ask for page ``number`` of ``size`` rows."""
        return {self.page_param: number, **dict.fromkeys(_names(self.size_param), size)}

    def decode(self, body: bytes) -> Listing:
        """Return what ``body`` lists, parsed once and the rows left undecoded.

        PHP turns a list with gaps into an object keyed by index and an empty object into ``[]``: both are
        read as the list of their values.

        :raises VendorRefusedError: the envelope says that it failed.
        :raises ContractDriftError: no rows under any known key, or a total that is no number.
        :raises msgspec.DecodeError: no JSON, or not of this form.
        """
        answer = _decoder(self).decode(body)
        refuse_if_unsuccessful(getattr(answer, self.ok_key))
        for key in _names(self.records_key):
            rows = getattr(answer, key)
            if rows is not None:
                return Listing(
                    list(rows.values()) if isinstance(rows, dict) else rows,
                    _first_count(answer, self.total_key),
                    _first_count(answer, self.total_pages_key),
                )
        raise ContractDriftError(
            f"the answer has no rows under {' or '.join(_names(self.records_key))}.",
            next_step="Compare the answer's keys with REFERENCE.md §3 and update the client.",
        )


def _names(keys: str | tuple[str, ...]) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else keys


@lru_cache(maxsize=32)
def _decoder(envelope: Envelope) -> msgspec.json.Decoder[msgspec.Struct]:
    rows = [
        (key, list[msgspec.Raw] | dict[str, msgspec.Raw] | None, None) for key in _names(envelope.records_key)
    ]
    counts = (*_names(envelope.total_key), *_names(envelope.total_pages_key), envelope.ok_key)
    fields = [*rows, *((key, object, None) for key in counts)]
    return msgspec.json.Decoder(msgspec.defstruct("EnvelopeOfAnswer", fields))


def _first_count(answer: msgspec.Struct, keys: str | tuple[str, ...]) -> int | None:
    for key in _names(keys):
        value = getattr(answer, key)
        if value is None:
            continue
        if isinstance(value, str) and value.strip().isdigit():
            return int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53:
            return int(value)
        raise ContractDriftError(
            f"{key} of the answer is not a count.",
            next_step="Compare the answer's keys with REFERENCE.md §3 and update the client.",
        )
    return None
