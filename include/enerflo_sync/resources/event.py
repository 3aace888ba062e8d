"""What an event says: its name, which records it concerns, and what only its payload knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from enerflo_sync.enerflo.ids import integer_id, uuid_id
from enerflo_sync.errors import BadRecordError

Body = Mapping[str, Any]

# Anything else may be text that somebody wrote, and names are shown unmasked.
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Need(msgspec.Struct, frozen=True, order=True, gc=False):
    """One read that an event asks for; events with equal needs are served by one.

    :param subject: which read (:attr:`enerflo_sync.resources.resource.DirectRead.subject`).
    :param key: a v1 number as text, or a v2 uuid.
    """

    subject: str
    key: str

    def __str__(self) -> str:
        """Return it as ``webhook_events.record`` has it: ``installs/123``."""
        return f"{self.subject}/{self.key}"

    @classmethod
    def of(cls, record: str) -> Need:
        """Return the need that ``webhook_events.record`` names."""
        subject, _, key = record.partition("/")
        return cls(subject, key)


@dataclass(frozen=True, slots=True)
class EventKind:
    """What this project knows of one event.

    Paths are dotted names within the payload; the first that says something counts.

    :param name: as the vendor sends it.
    :param exchange: the exchange of the integration guide that it serves, or why it is ignored.
    :param subject: the read that it asks for; None where it asks for none.
    :param key_at: where the key of that read stands.
    :param is_uuid: whether that key is a v2 uuid, and not a v1 number.
    :param also: further reads of the same key.
    :param install_at: where it names the v1 install that it concerns.
    :param deal_at: where it names the v2 deal that it concerns.
    :param submission: whether the payload holds a signed design, which no endpoint gives.
    :param may_be_empty: whether the vendor sends copies whose payload lacks the record; the full copy counts.
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
        """Return whether the event is known and asks for nothing."""
        return self.subject is None

    def need(self, body: Body) -> Need:
        """Return the read that a payload asks for, of an event that is not ignored.

        :raises BadRecordError: the payload names no record.
        """
        read = uuid_at if self.is_uuid else number_at
        return Need(self.subject or "", read(body, *self.key_at))

    def needs(self, record: str) -> tuple[Need, ...]:
        """Return every read that an event about ``record`` asks for."""
        first = Need.of(record)
        return first, *(Need(subject, first.key) for subject in self.also)

    def install_id(self, body: Body) -> str | None:
        """Return the v1 install that a payload concerns, None where it does not say so rightly."""
        return _optional(number_at, body, self.install_at)

    def deal_id(self, body: Body) -> str | None:
        """Return the v2 deal that a payload concerns, None where it does not say so rightly."""
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


def _optional(read: Callable[..., str], body: Body, paths: tuple[str, ...]) -> str | None:
    try:
        return read(body, *paths) if paths else None
    except BadRecordError:
        return None
