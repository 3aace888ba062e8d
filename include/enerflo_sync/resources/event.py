"""The content of an event: its name, the records that it concerns, and data that only its payload has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from enerflo_sync.enerflo.ids import integer_id, uuid_id
from enerflo_sync.errors import BadRecordError

Body = Mapping[str, Any]

# Other names may contain text that somebody wrote, and names are shown unmasked.
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Need(msgspec.Struct, frozen=True, order=True, gc=False):
    """One read that an event needs; one read serves all events with equal needs.

    :param subject: the kind of read (:attr:`enerflo_sync.resources.resource.DirectRead.subject`).
    :param key: a v1 number as text, or a v2 uuid.
    """

    subject: str
    key: str

    def __str__(self) -> str:
        """Return the need in the form of ``webhook_events.record``: ``installs/123``."""
        return f"{self.subject}/{self.key}"

    @classmethod
    def of(cls, record: str) -> Need:
        """Return the need in a value of ``webhook_events.record``."""
        subject, _, key = record.partition("/")
        return cls(subject, key)


@dataclass(frozen=True, slots=True)
class EventKind:
    """The known properties of one event.

    Paths are dotted names within the payload; the first one with a value counts.

    :param name: the vendor's name.
    :param exchange: the exchange of the integration guide that it serves, or why it is ignored.
    :param subject: the read that it needs; None if it needs none.
    :param key_at: the path of the key of that read.
    :param is_uuid: whether that key is a v2 uuid, not a v1 number.
    :param also: further reads with the same key.
    :param install_at: the path of the v1 install that it concerns.
    :param deal_at: the path of the v2 deal that it concerns.
    :param submission: whether the payload contains a signed design, which no endpoint returns.
    :param may_be_empty: whether the vendor also sends copies without the record; the full copy counts.
    """

    name: str
    exchange: str
    subject: str | None = None
    key_at: tuple[str, ...] = ()
    is_uuid: bool = False
    also: tuple[str, ...] = ()
    install_at: tuple[str, ...] = ()
    deal_at: tuple[str, ...] = ()
    submission: bool = False
    may_be_empty: bool = False

    @property
    def ignored(self) -> bool:
        """Return whether the event is known and needs no read."""
        return self.subject is None

    def need(self, body: Body) -> Need:
        """Return the read that a payload needs; not for ignored events.

        :raises BadRecordError: the payload names no record.
        """
        read = uuid_at if self.is_uuid else number_at
        return Need(self.subject or "", read(body, *self.key_at))

    def needs(self, record: str) -> tuple[Need, ...]:
        """Return every read that an event about ``record`` needs."""
        first = Need.of(record)
        return first, *(Need(subject, first.key) for subject in self.also)

    def install_id(self, body: Body) -> str | None:
        """Return the v1 install that a payload concerns; None if it names none correctly."""
        return _optional(number_at, body, self.install_at)

    def deal_id(self, body: Body) -> str | None:
        """Return the v2 deal that a payload concerns; None if it names none correctly."""
        return _optional(uuid_at, body, self.deal_at)

    def empty(self, body: Body) -> bool:
        """Return whether a payload is one of the vendor's copies without data (REFERENCE.md §11)."""
        if not self.may_be_empty:
            return False
        payload = at(body, "payload")
        records = (path.rpartition(".")[0] for path in self.key_at)
        return isinstance(payload, dict) and not any(at(body, path) for path in records)


def event_name(body: Body) -> str:
    """Return the event's name: ``webhook_event`` in v1, ``event`` in v2 (REFERENCE.md §9, §10).

    :raises BadRecordError: the payload has no name.
    """
    for field in ("webhook_event", "event"):
        name = body.get(field)
        if isinstance(name, str) and name.strip():
            if _NAME.fullmatch(name.strip()) is None:
                raise BadRecordError("bad_event_name", field=field)
            return name.strip()
    raise BadRecordError("missing_event_name", field="webhook_event")


def at(body: Body, path: str) -> Any:
    """Return the value at a dotted path; None if a step of the path is not an object."""
    value: Any = body
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def number_at(body: Body, *paths: str) -> str:
    """Return the v1 id at the first of the paths that has a value.

    :raises BadRecordError: no path has a value, or it is not an integer from 1 to 2^63 - 1.
    """
    for path in paths:
        value = at(body, path)
        if value is None or value == "" or value == []:
            continue
        try:
            return integer_id(value, path)
        except BadRecordError:
            raise BadRecordError("id_not_a_whole_number", field=path) from None
    raise BadRecordError("missing_id", field=paths[0])


def uuid_at(body: Body, *paths: str) -> str:
    """Return the v2 id at the first of the paths that has a value, in lower case.

    :raises BadRecordError: no path has a value, or it is not a uuid.
    """
    for path in paths:
        value = at(body, path)
        if value is None or value == "":
            continue
        try:
            return uuid_id(value, path)
        except BadRecordError:
            raise BadRecordError("id_not_a_uuid", field=path) from None
    raise BadRecordError("missing_id", field=paths[0])


def _optional(read: Callable[..., str], body: Body, paths: tuple[str, ...]) -> str | None:
    try:
        return read(body, *paths) if paths else None
    except BadRecordError:
        return None
