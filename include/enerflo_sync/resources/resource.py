"""The description of one kind of vendor record: its id, its tables, and how it is read."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.resources.event import Body, EventKind
from enerflo_sync.resources.fields import BIGINT, Record
from enerflo_sync.resources.fingerprint import decode, raw_hash

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

Row = tuple[Any, ...]

# In a small table, whose rows matter little, this many may be missing whatever their share.
SMALLEST_SHRINK = 10
# More digits than the largest id in text has, and still quick to read.
_MOST_DIGITS = 30


@dataclass(frozen=True)
class Part:
    """One mirror table that a record fills.

    :param columns: the columns that :attr:`Resource.read` returns, in order, key columns included.
    :param owner: for rows that belong to the record: the column with the record's id. A row that the record
        no longer lists gets a tombstone. ``None`` for the record's own row.
    :param declared: the columns that ``sync.yaml`` declares; they are the last ones.
    :param items: returns the object of the record from which each row comes, in the order of the rows, so
        that declared columns can be read from it; None if there can be no declared columns.
    :param crm_table: the kind of these rows, which a CRM table in ``sync.yaml`` is ``of``; None if no CRM
        table can be compared with them.
    :param crm_order: the place of such tables in reports and plans; rows that others belong to come first.
    :param writable: the columns that a call of Enerflo's API can set (REFERENCE §6.1, §6.2, §6.4).
    :param fields: the record's fields with the objects of these rows, the usual one first; none for the
        record's own row.
    """

    table: sa.Table
    columns: tuple[str, ...] = ()
    owner: str | None = None
    items: Callable[[Record], Sequence[Record]] | None = None
    crm_table: str | None = None
    crm_order: int = 100
    declared: tuple[str, ...] = ()
    writable: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class DirectRead:
    """How records are read by a key, without walking their list.

    :param subject: the prefix of ``webhook_events.record`` for events that need this read.
    :param owner: the resource whose record the key names, if the read returns that record's children; its 404
        is no evidence. None if the key names one record of this resource; its 404 is evidence of the record's
        deletion.
    :param column: the owner's column, or the record's, that contains the key; None for its id.
    :param rows: reads all children of the owner; None if the read needs more than the key.
    """

    subject: str
    owner: str | None = None
    column: str | None = None
    rows: Callable[[EnerfloClient, str], Sequence[msgspec.Raw]] | None = None


@dataclass(frozen=True)
class Payloads:
    """Webhooks whose payloads contain records that the key may not read; a rebuild derives rows from them.

    :param events: their names.
    :param records: returns the records of one payload, in the form of the list's rows.
    :param of_install: whether they belong to the install that the event names, and are deleted with it.
    """

    events: tuple[str, ...]
    records: Callable[[Body], Sequence[bytes]]
    of_install: bool = False


@dataclass(frozen=True)
class Witnessed:
    """How webhooks report the changes of the records.

    :param created: the event of a new record; None if only changes are reported.
    :param changed: the event of a changed record; None if none is sent.
    :param content: SQL for the digest of the content of the row ``t``.
    :param told_once: whether a record is reported only once, whatever changes later.
    :param changed_at: columns with the source's own time of a creation and of a change.
    :param told: SQL: the rows ``t`` for which an event is sent at all.
    """

    created: str | None
    changed: str | None
    changed_at: tuple[str, str] = ("created_at", "updated_at")
    content: str = "encode(t.raw_hash, 'hex')"
    told_once: bool = False
    told: str = "true"


@dataclass(frozen=True)
class Resource:
    """One kind of vendor record: what poll, inbox, backfill, rebuild and reports know of it.

    :param order: its place in a poll; installs come first, since their list shows whose key it is.
    :param id_field: the JSON field with the record's own id.
    :param parts: the record's own table first, then the tables of its children.
    :param read: turns a record into rows, one list per part, None for a part that the record does not
        contain; its errors reach callers as :class:`BadRecordError`.
    :param known_fields: known top-level fields; other fields are stored and reported.
    :param unknown_within: returns the paths of further unknown fields, below the top level.
    :param says_deleted: whether a record of the list says that it was deleted: then it counts as not listed.
        False for a resource whose rows have the time of the deletion (``deleted_at``).
    :param unfilled: returns the declared columns that stay null because of the record's content, and why.
    :param read_usual: returns the result of ``read`` from the bytes of a record in its usual form, or None.
    :param dependents: rows of other resources that cannot exist without the record.
    :param reader: ends each digest of a record's bytes, so that a record from another reader is read again.
    :param versions: the table that keeps every distinct content of the records, as Enerflo sent it
        (:func:`enerflo_sync.warehouse.schema.columns.versions_table`); the record's own table then has a
        column ``content_hash``. None if only the rows are kept.
    :param listing: its list, which a poll walks; a complete walk moves the watermark of this name. None if
        ``read_all`` returns all records in one answer, for which no watermark is kept.
    :param reads: how events and people read it directly; a read that serves others comes first.
    :param events: the webhooks about its records.
    :param payloads: the webhooks from which its rows are derived if Enerflo does not return them.
    :param swept: the watermark of the last walk of all records, if a poll asks only for new ones.
    :param shrink_floor: how many records may be missing from the list, whatever their share, before the list
        is doubted: for a table whose rows matter little, or a list that may omit some.
    :param by_default: whether it is read if ``sync.yaml`` does not name it.
    :param backfilled_by: the column of its rows, and of ``enerflo.installs``, by which a backfill finds the
        records of its installs; None if a backfill leaves them to the poll.
    :param witnessed: how webhooks report its changes; None if none does.
    :param with_keys: returns the resource with an account's component keys.
    """

    name: str
    id_field: str
    parts: tuple[Part, ...]
    read: Callable[[Record], Sequence[Sequence[Row] | None]]
    known_fields: frozenset[str]
    order: int = 100
    unknown_within: Callable[[Record], Iterable[str]] = lambda _: ()
    says_deleted: Callable[[Record], bool] = lambda _: False
    unfilled: Callable[[Record], Iterable[str]] = lambda _: ()
    read_usual: Callable[[bytes], Sequence[Sequence[Row]] | None] | None = None
    dependents: tuple[Part, ...] = ()
    reader: bytes = b""
    versions: sa.Table | None = None
    listing: VendorList | None = None
    read_all: Callable[[EnerfloClient], Sequence[msgspec.Raw]] | None = None
    reads: tuple[DirectRead, ...] = ()
    events: tuple[EventKind, ...] = ()
    payloads: Payloads | None = None
    swept: str | None = None
    shrink_floor: int = 1
    by_default: bool = True
    backfilled_by: str | None = None
    witnessed: Witnessed | None = None
    with_keys: Callable[[Any], Resource] | None = None
    _leading_id: re.Pattern[bytes] = field(init=False, repr=False)
    _id_decoder: msgspec.json.Decoder[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", _raising_bad_record(self.read))
        pattern = rb'^\{\s*"' + self.id_field.encode() + rb'":\s*([1-9]\d{0,17})\s*[,}]'
        object.__setattr__(self, "_leading_id", re.compile(pattern))
        struct = msgspec.defstruct("RecordId", [(self.id_field, Any, None)])
        object.__setattr__(self, "_id_decoder", msgspec.json.Decoder(struct))

    @property
    def table(self) -> sa.Table:
        """Return the table that holds one row per record."""
        return self.parts[0].table

    @property
    def id_column(self) -> str:
        """Return the column of that table with the record's id."""
        return next(column.name for column in self.table.primary_key.columns if column.name != "account")

    @property
    def names(self) -> Mapping[str, str]:
        """Return the values of an SQL template's ``name``, ``table``, ``id`` and, if kept, ``versions``."""
        names = {"name": str(self.table.name), "table": self.table.fullname, "id": self.id_column}
        return names if self.versions is None else names | {"versions": self.versions.fullname}

    @property
    def is_read_by_key(self) -> bool:
        """Return whether one record can be read by itself, so that a 404 is evidence of its deletion."""
        return any(read.owner is None for read in self.reads)

    def digest(self, stable: bytes) -> bytes:
        """Return a digest that is equal only for equal bytes read by the same reader; does not parse."""
        return raw_hash(stable) + self.reader

    def key(self, record_id: int) -> Mapping[str, int]:
        """Return the record's key in the form of quarantine and reports."""
        return {self.id_column: record_id}

    def usual_rows(self, stable: bytes) -> Sequence[Sequence[Row]] | None:
        """Return the rows of a record in its usual form, None for any other; never raises."""
        # Searching for one byte is many times faster than for several, and most records have no escapes.
        if self.read_usual is None or (b"\\" in stable and b"\\u0000" in stable):
            return None
        return self.read_usual(stable)

    def rows_of(self, stable: bytes) -> Sequence[Sequence[Row] | None]:
        """Return the rows of each part from a record's bytes, None for a part that it does not contain.

        :raises BadRecordError: as :attr:`read`, and if the bytes are not a JSON object.
        """
        usual = self.usual_rows(stable)
        return self.read(decode(stable)[0]) if usual is None else usual

    def rows_by_column(self, record: Record) -> list[list[dict[str, Any]]]:
        """Return the rows of each part by column; none for a part that the record does not contain.

        :raises BadRecordError: as :attr:`read`.
        """
        return [
            [dict(zip(part.columns, row, strict=True)) for row in rows or ()]
            for part, rows in zip(self.parts, self.read(record), strict=True)
        ]

    def record_id(self, raw: bytes | memoryview) -> int:
        """Return the record's own id without decoding the rest.

        :raises BadRecordError: it is missing, or not an integer from 1 to 2^63 - 1.
        """
        leading = self._leading_id.match(raw)
        if leading:
            return int(leading[1])
        try:
            found = getattr(self._id_decoder.decode(raw), self.id_field)
        except (msgspec.ValidationError, RecursionError):
            raise BadRecordError("not_an_object") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadRecordError("not_json") from None
        except Exception as error:
            raise bad_record(error) from None
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= _MOST_DIGITS:
            found = int(found)
        if found is None:
            raise BadRecordError("missing_id", field=self.id_field)
        if type(found) is not int or not 1 <= found <= BIGINT:
            raise BadRecordError("id_not_a_whole_number", field=self.id_field)
        return found


def itself(record: Record) -> Sequence[Record]:
    """Return the record itself, from which its own row comes (:attr:`Part.items`)."""
    return (record,)


def _raising_bad_record(read: Callable[[Record], Sequence[Sequence[Row] | None]]) -> Callable[..., Any]:
    """Return ``read`` with every error turned into the record's (:func:`enerflo_sync.errors.bad_record`)."""

    @functools.wraps(read)
    def reading(record: Record) -> Sequence[Sequence[Row] | None]:
        try:
            return read(record)
        except BadRecordError:
            raise
        except Exception as error:
            raise bad_record(error) from None

    return reading
