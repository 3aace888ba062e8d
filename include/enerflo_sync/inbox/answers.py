"""The result of a direct read, and the check that it is the requested record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from enerflo_sync.enerflo.failures import AuthenticationError, VendorRefusedError
from enerflo_sync.errors import BadRecordError, ContractDriftError, NotFoundError
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.resource import Resource

T = TypeVar("T")

Records = Sequence[bytes | memoryview]


class NotListedError(NotFoundError):
    """Enerflo does not return the record in the mirror's form, so its present values are unknown."""


@dataclass(frozen=True)
class Answer:
    """The result of one direct read.

    :param records: by resource, the records that Enerflo returned.
    :param said: by resource, records from another source than a list: stored if the mirror does not know the
        record, or has an earlier version by the record's own time.
    :param said_later: like ``said``, but stored only if the mirror has an earlier version.
    :param said_by: name of that other source in a run's report.
    :param tells: further needs that this answer serves.
    :param is_whole: False if Enerflo does not provide the requested list.
    :param since: the list has only records that were created since then; None: all records.
    """

    records: Sequence[tuple[Resource, Records]]
    said: Sequence[tuple[Resource, Records]] = ()
    said_later: Sequence[tuple[Resource, Records]] = ()
    said_by: str = "the payload"
    tells: Sequence[Need] = ()
    install_id: int | None = None
    is_whole: bool = True
    since: datetime | None = None


def given(read: Callable[[], T]) -> T | None:
    """Return the result of ``read``; None if Enerflo refuses it, does not provide it, or returns no record.

    :raises AuthenticationError: the key is not accepted.
    """
    try:
        return read()
    except AuthenticationError:
        raise
    except (NotFoundError, VendorRefusedError, ContractDriftError, BadRecordError):
        return None


def record_id_of(resource: Resource, raw: bytes) -> int | None:
    """Return the record's id; None if it has no usable one."""
    try:
        return resource.record_id(raw)
    except BadRecordError:
        return None


def same_record(resource: Resource, raw: bytes, key: str | None) -> bytes:
    """Return ``raw`` if its id is ``key``; with ``key`` None, any usable id.

    :raises BadRecordError: the record has no usable id, or another one (``another_id``).
    """
    if resource.record_id(raw) != int(key or resource.record_id(raw)):
        raise BadRecordError("another_id", field=resource.id_field)
    return raw
