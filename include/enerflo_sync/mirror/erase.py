"""Erase the values of a JSON document on which nothing depends that has to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

# What takes the place of a value; the first that can be read. A text where a reader insists on one.
_BLANKS: tuple[Any, ...] = (None, "", "erased")
# What a reader returns of a document that it cannot read.
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
        # What is personal in the document as it stands; None after a change, until it is read again.
        self._told: list[Any] | None = None

    def go(self, name: Any, owner: Any) -> None:
        """Erase what stands at one place: as a whole if nothing depends on it, else part by part."""
        value = owner[name]
        if value is None or isinstance(value, bool) or value in ("", [], {}):
            return
        if isinstance(value, dict | list):
            owner[name] = blanked(value)
            if self._read(self._kept) == self._wanted:
                self._told = None
                return
            owner[name] = value
            for inner in list(value) if isinstance(value, dict) else range(len(value)):
                self.go(inner, value)
            return
        for blank in _BLANKS:
            owner[name] = blank
            now = self._read(self._kept)
            if now == self._wanted:
                self._told = None
                return
            if now is not _UNREADABLE:
                # Something kept is read from the value: another blank would change it as well.
                break
        owner[name] = value
        self._personal_too(name, owner)

    def _personal_too(self, name: Any, owner: Any) -> None:
        """Erase a value all the same if something personal is read from it."""
        value = owner[name]
        if self._told is None:
            self._told = [self._read(self._personal)]
        before, text = self._told[0], str(value).strip()
        if not any(text in one for one in _texts(before)):
            return
        for blank in _BLANKS:
            owner[name] = blank
            now, kept = self._read(self._personal), self._read(self._kept)
            # A document that cannot be read any more would count as changed from here on.
            if kept is not _UNREADABLE and now is not _UNREADABLE and _lost_only(before, now, text):
                self._wanted, self._told = kept, None
                return
        owner[name] = value

    def _read(self, reader: Callable[[Any], Any]) -> Any:
        try:
            return reader(self.root["document"])
        except Exception:
            # A document in which values are missing can fail in any way, and says nothing of the original.
            return _UNREADABLE


def _lost_only(before: Any, now: Any, text: str) -> bool:
    """Return whether what is read differs only where ``text`` was read.

    A value that decides how the document is read changes the number of rows, or values without its text.
    """
    changed = 0
    waiting = [(before, now)]
    while waiting:
        one, other = waiting.pop()
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            waiting += [(one[name], other[name]) for name in one]
        elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
            waiting += zip(one, other, strict=True)
        elif one is None or isinstance(one, dict | list | tuple) or text not in str(one):
            return False
        else:
            changed += 1
    return changed > 0


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
