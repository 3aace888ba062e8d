"""A declaration of how each list endpoint wraps its rows (REFERENCE.md §3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from enerflo_sync.enerflo.answers import refuse_if_unsuccessful, without_controls
from enerflo_sync.errors import BadRecordError, ContractDriftError
from enerflo_sync.json_parts import elements, members

_COUNT = re.compile(r"[0-9]{1,15}")
# How Laravel, which answers for Enerflo (REFERENCE.md §2), says that a list goes on: a link or cursor of the
# next page, or a last page after the present one, at the root or within one of the two objects.
_NEXT = ("next_page_url", "next_cursor")
_PLACES = ("links", "meta")
_PAGING = (*_NEXT, "current_page", "last_page", *_PLACES)


class Listing(msgspec.Struct, frozen=True):
    """One answer of a list endpoint.

    :param records: undecoded rows; each row keeps the whole answer's bytes in memory.
    :param total: number of all rows, if the endpoint returns it.
    :param total_pages: number of pages at the requested size, if the endpoint returns it.
    :param more: whether the answer names a next page.
    """

    records: list[msgspec.Raw]
    total: int | None
    total_pages: int | None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """The keys and parameters of one list endpoint.

    :param records_key: key of the rows; where the vendor's name is unsure, several are tried in order.
    :param total_key: key of the number of all rows.
    :param total_pages_key: key of the number of all pages.
    :param page_param: query parameter of the page number, 1-based.
    :param size_param: query parameter of the page size; several where the vendor's name is unsure.
    :param ok_key: flag that is false when a 200 reports a failure.
    """

    records_key: str | tuple[str, ...]
    total_key: str | tuple[str, ...] = ()
    total_pages_key: str | tuple[str, ...] = ()
    page_param: str = "page"
    size_param: str | tuple[str, ...] = "per_page"
    ok_key: str = "success"

    def page_params(self, number: int, size: int) -> dict[str, str | int]:
        """Return the query parameters for page ``number`` of ``size`` rows."""
        return {self.page_param: number, **dict.fromkeys(_names(self.size_param), size)}

    def decode(self, body: bytes) -> Listing:
        """Return the rows and totals in ``body``, parsed once; the rows stay undecoded.

        PHP turns a list with gaps into an object keyed by index, and an empty object into ``[]``. Both are
        read as the list of their values.

        :raises VendorRefusedError: the envelope reports a failure.
        :raises ContractDriftError: no known key holds rows, or a total is not a number.
        :raises msgspec.DecodeError: the body is not JSON, or has another form.
        """
        try:
            answer = _decoder(self).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if isinstance(error, msgspec.ValidationError):
                raise
            answer = self._decoded_apart(body, error)
        refuse_if_unsuccessful(getattr(answer, self.ok_key))
        for key in _names(self.records_key):
            rows = getattr(answer, key)
            if rows is not None:
                return Listing(
                    list(rows.values()) if isinstance(rows, dict) else rows,
                    _first_count(answer, self.total_key),
                    _first_count(answer, self.total_pages_key),
                    _goes_on(answer),
                )
        raise ContractDriftError(
            f"the answer has no rows under {' or '.join(_names(self.records_key))}.",
            next_step="Compare the answer's keys with REFERENCE.md §3 and update the client.",
        )

    def _decoded_apart(self, body: bytes, error: Exception) -> msgspec.Struct:
        """Return the answer with its rows separated by their brackets, because one row may be invalid JSON.

        Such a row (half a character in a text, too deep nesting) fails later, when that row alone is decoded.
        The other rows stay usable.

        :raises msgspec.DecodeError: ``error``, if the brackets do not separate the rows either.
        """
        body = without_controls(body)
        names = {name.encode(): name for name in _names(self.records_key)}
        found: dict[str, list[msgspec.Raw]] = {}
        head, after = bytearray(), 0
        try:
            for name, begin, end in members(body, body.index(b"{")):
                if name not in names or body[begin : begin + 1] not in (b"[", b"{"):
                    continue
                found[names[name]] = rows_apart(body, begin, end)
                head += body[after:begin] + b"[]"
                after = end
            answer = _decoder(self).decode(bytes(head) + body[after:])
        except (BadRecordError, ValueError, RecursionError):
            raise error from None
        for key, rows in found.items():
            setattr(answer, key, rows)
        return answer


def rows_apart(body: bytes, begin: int, end: int) -> list[msgspec.Raw]:
    """Return the elements of the array, or the values of the object, between two offsets of ``body``.

    :raises BadRecordError: the body is cut off.
    """
    if body[begin : begin + 1] == b"[":
        return [msgspec.Raw(row) for _, row in elements(body, begin, end)]
    return [msgspec.Raw(body[at:stop]) for _, at, stop in members(body, begin)]


def _names(keys: str | tuple[str, ...]) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else keys


@lru_cache(maxsize=32)
def _decoder(envelope: Envelope) -> msgspec.json.Decoder[msgspec.Struct]:
    rows = [
        (key, list[msgspec.Raw] | dict[str, msgspec.Raw] | None, None) for key in _names(envelope.records_key)
    ]
    counts = (*_names(envelope.total_key), *_names(envelope.total_pages_key), envelope.ok_key)
    fields = [*rows, *((key, object, None) for key in dict.fromkeys((*counts, *_PAGING)))]
    return msgspec.json.Decoder(msgspec.defstruct("EnvelopeOfAnswer", fields))


def _goes_on(answer: msgspec.Struct) -> bool:
    """Return whether an answer names a page after its own."""
    root = {name: getattr(answer, name) for name in _PAGING}
    for place in (root, *(root[name] for name in _PLACES)):
        if not isinstance(place, dict):
            continue
        if any(place.get(name) for name in _NEXT) or (place is root["links"] and place.get("next")):
            return True
        present, last = place.get("current_page"), place.get("last_page")
        if isinstance(present, int) and isinstance(last, int) and present < last:
            return True
    return False


def _first_count(answer: msgspec.Struct, keys: str | tuple[str, ...]) -> int | None:
    for key in _names(keys):
        value = getattr(answer, key)
        if value is None:
            continue
        if isinstance(value, str) and _COUNT.fullmatch(value.strip()):
            return int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53:
            return int(value)
        raise ContractDriftError(
            f"{key} of the answer is not a count.",
            next_step="Compare the answer's keys with REFERENCE.md §3 and update the client.",
        )
    return None
