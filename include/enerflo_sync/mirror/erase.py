"""Erase the values of a JSON document on which nothing depends that has to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from enerflo_sync.errors import BadRecordError

# What takes the place of a value; the first that can be read. A text where a reader insists on one.
_BLANKS: tuple[Any, ...] = (None, "", "erased")
# Fields of objects that identify nobody in an empty document.
_UNREADABLE = object()


def erase(document: Any, kept: Callable[[Any], Any], personal: Callable[[Any], Any]) -> Any:
    """Return a copy of a document in which texts and numbers are null unless ``kept`` depends on them.

    What ``personal`` depends on is null in any case. Names of fields, lengths of lists, true and false stay.

    :param kept: what has to be read from the document as before; :param personal: what must not be read.
    :raises BadRecordError: the document itself cannot be read.
    """
    whole = _Erasure({"document": _copy(document)}, kept, personal)
    whole.go("document", whole.root)
    return whole.root["document"]


class _Erasure:
    def __init__(
        self, root: dict[str, Any], kept: Callable[[Any], Any], personal: Callable[[Any], Any]
    ) -> None:
        self.root = root
        self._kept = kept
        self._personal = personal
        self._wanted = kept(root["document"])

    def go(self, name: Any, owner: Any) -> None:
        """Erase what stands at one place: as a whole if nothing depends on it, else part by part."""
        value = owner[name]
        if value is None or isinstance(value, bool) or value in ("", [], {}):
            return
        if isinstance(value, dict | list):
            owner[name] = blanked(value)
            if self._is_kept():
                return
            owner[name] = value
            for inner in list(value) if isinstance(value, dict) else range(len(value)):
                self.go(inner, value)
            return
        for blank in _BLANKS:
            owner[name] = blank
            if self._is_kept():
                return
        owner[name] = value
        self._personal_too(name, owner)

    def _personal_too(self, name: Any, owner: Any) -> None:
        """Erase a value all the same if something personal is read from it."""
        value, before = owner[name], self._read(self._personal)
        # Other values decide how the document is read, and are no part of what is read.
        if not any(str(value).strip() in text for text in _texts(before)):
            return
        for blank in _BLANKS:
            owner[name] = blank
            now = self._read(self._personal)
            if now is not _UNREADABLE and now != before:
                self._wanted = self._read(self._kept)
                return
        owner[name] = value

    def _is_kept(self) -> bool:
        return bool(self._read(self._kept) == self._wanted)

    def _read(self, reader: Callable[[Any], Any]) -> Any:
        try:
            return reader(self.root["document"])
        except BadRecordError:
            return _UNREADABLE


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
    elif value is not None and value is not _UNREADABLE:
        yield str(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(one) for name, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value


def blanked(value: Any) -> Any:
    """Return a document of which only names of fields, lengths of lists, true and false are left."""
    if isinstance(value, dict):
        return {name: blanked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [blanked(one) for one in value]
    return value if isinstance(value, bool) else None
