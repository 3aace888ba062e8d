"""What an event says: its name, which records it concerns, and what only its payload knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from enerflo_sync.enerflo.ids import integer_id, uuid_id
from enerflo_sync.errors import BadRecordError

Body = Mapping[str, Any]

# Anything else may be text that somebody wrote, and names are shown unmasked.
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Subject(StrEnum):
    """What is read again when an event arrives. Values begin ``webhook_events.record``."""

    INSTALL = "installs"
    DEAL = "deals"
    CUSTOMER = "customers"
    NOTES = "notes_of"
    CHANGE_ORDERS = "change_orders_of"


class Need(msgspec.Struct, frozen=True, order=True, gc=False):
    """One read that an event asks for; events with equal needs are served by one.

    :param key: a v1 number as text, or a v2 uuid.
    """

    subject: Subject
    key: str

    def __str__(self) -> str:
        """Return it as ``webhook_events.record`` has it: ``installs/123``."""
        return f"{self.subject}/{self.key}"

    @classmethod
    def of(cls, record: str) -> Need:
        """Return the need that ``webhook_events.record`` names."""
        subject, _, key = record.partition("/")
        return cls(Subject(subject), key)


@dataclass(frozen=True, slots=True)
class EventKind:
    """What this project knows of one event.

    :param name: as the vendor sends it.
    :param exchange: the exchange of the integration guide that it serves, or why it is ignored.
    :param need: the read it asks for; raises :class:`BadRecordError` where the payload names no record.
    :param also: further reads of the same key.
    :param install_id: the v1 install it concerns, where its payload says so.
    :param deal_id: the v2 deal it concerns, where its payload says so.
    :param submission: whether the payload holds a signed design, which no endpoint gives.
    :param empty: whether a payload is one of the vendor's copies without data, whose full copy counts.
    """

    name: str
    exchange: str
    need: Callable[[Body], Need] | None = None
    also: tuple[Subject, ...] = ()
    install_id: Callable[[Body], str | None] = lambda _body: None
    deal_id: Callable[[Body], str | None] = lambda _body: None
    submission: bool = False
    empty: Callable[[Body], bool] = lambda _body: False

    @property
    def ignored(self) -> bool:
        """Return whether the event is known and asks for nothing."""
        return self.need is None

    def needs(self, record: str) -> tuple[Need, ...]:
        """Return every read that an event about ``record`` asks for."""
        first = Need.of(record)
        return first, *(Need(subject, first.key) for subject in self.also)


def event_name(body: Body) -> str:
    """Return the event's name: ``webhook_event`` in v1, ``event`` in v2 (REFERENCE.md §9, §10).

    :raises BadRecordError: there is none.
    """
    for field in ("webhook_event", "event"):
        name = body.get(field)
        if isinstance(name, str) and name.strip():
            if _NAME.fullmatch(name.strip()) is None:
                raise BadRecordError("bad_event_name", field=field)
            return name.strip()
    raise BadRecordError("missing_event_name", field="webhook_event")


def at(body: Body, path: str) -> Any:
    """Return what stands at a dotted path, None where something on the way is no object."""
    value: Any = body
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def number_at(body: Body, *paths: str) -> str:
    """Return the first v1 id that is given under one of the paths.

    :raises BadRecordError: there is none, or it is no whole number from 1 to 2^63 - 1.
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
    """Return the first v2 id that is given under one of the paths, in lower case.

    :raises BadRecordError: there is none, or it is no uuid.
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


def optional(read: Callable[..., str], *paths: str) -> Callable[[Body], str | None]:
    """Return a reader that gives what ``read`` does, or None where the payload does not say it rightly."""

    def found(body: Body) -> str | None:
        try:
            return read(body, *paths)
        except BadRecordError:
            return None

    return found
