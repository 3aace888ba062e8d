"""What the mirror needs to know of one kind of vendor record: its id, its tables, how to read it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.resources.event import Body, EventKind
from enerflo_sync.resources.fields import BIGINT, Record
from enerflo_sync.resources.fingerprint import decode, raw_hash

Row = tuple[Any, ...]

# Of a small table, whose rows say little each, so many may be missing whatever the share.
SMALLEST_SHRINK = 10
# Of an id in text: more than the largest one has, of a length that is read quickly.
_MOST_DIGITS = 30


@dataclass(frozen=True)
class Part:
    """One mirror table that a record fills.

    :param columns: what :attr:`Resource.read` gives, in order; key columns among them.
    :param owner: for rows that belong to the record: the column that holds the record's id. Rows that the
        record no longer lists get a tombstone. ``None`` for the record's own row.
    :param declared: those of the columns that ``sync.yaml`` declares, the last ones.
    :param items: gives the object of the record that each row comes from, in the order of the rows, so that
        declared columns can be read from it; None where there can be none.
    :param crm_table: the kind of these rows: what a CRM's table in ``sync.yaml`` is ``of``; None where no
        CRM table can be compared with them.
    :param crm_order: the place of such tables in reports and plans; rows that others belong to come first.
    :param fields: the record's fields that hold the objects of these rows, the usual one first; none for the
        record's own row.
    """

    table: sa.Table
    columns: tuple[str, ...] = ()
    owner: str | None = None
    items: Callable[[Record], Sequence[Record]] | None = None
    crm_table: str | None = None
    crm_order: int = 100
    declared: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class DirectRead:
    """How records are read by a key, and not by walking their list.

    :param subject: what ``webhook_events.record`` begins with where an event asks for this read.
    :param owner: the resource whose record the key names, where the read gives what belongs to that one; its
        404 is no evidence of anything. None where the key names one record of this resource, of whose
        deletion a 404 is evidence.
    :param column: the owner's column, or the record's, that holds the key; None for its id.
    :param rows: reads all that belongs to the owner; None where the read needs more than the key.
    """

    subject: str
    owner: str | None = None
    column: str | None = None
    rows: Callable[[EnerfloClient, str], Sequence[msgspec.Raw]] | None = None


@dataclass(frozen=True)
class Payloads:
    """Webhooks whose payloads hold records that the key may not read: a rebuild derives rows from them.

    :param events: their names.
    :param records: gives the records of one payload, in the form of the list's rows.
    :param of_install: whether they belong to the install that the event names, and go with it.
    """

    events: tuple[str, ...]
    records: Callable[[Body], Sequence[bytes]]
    of_install: bool = False


@dataclass(frozen=True)
class Witnessed:
    """How the changes of the records are told by webhooks.

    :param created: the event of a new record; None where only a change is told.
    :param changed: the event of a changed record; None where none is sent.
    :param content: SQL for the digest of what the row ``t`` says.
    :param told_once: whether one record is told of only once, whatever it says later.
    :param changed_at: columns with the source's own time of a creation and of a change.
    :param told: SQL: which rows ``t`` an event is sent for at all.
    """

    created: str | None
    changed: str | None
    changed_at: tuple[str, str] = ("created_at", "updated_at")
    content: str = "encode(t.raw_hash, 'hex')"
    told_once: bool = False
    told: str = "true"


@dataclass(frozen=True)
class Resource:
    """One kind of vendor record: all that poll, inbox, backfill, rebuild and reports know of it.

    :param order: its place in a poll; installs come first, whose list shows whose key it is.
    :param id_field: the JSON field with the record's own id.
    :param parts: the record's own table first, then those of what it contains.
    :param read: turns a record into rows, one list per part, None for a part that the record does not tell;
        whatever it raises reaches callers as :class:`BadRecordError`.
    :param known_fields: top-level fields that were seen before; others are kept and reported.
    :param unknown_within: gives the paths of further unknown fields, below the top level.
    :param unfilled: gives the declared columns that stay null because of what the record says, and why.
    :param read_usual: gives what ``read`` would, from the bytes of a record in its usual form, or None.
    :param dependents: rows of other resources that cannot outlive the record.
    :param reader: ends each digest of a record's bytes, so that what another reader read is read again.
    :param versions: the table that keeps every distinct content of the records, as Enerflo sent it
        (:func:`enerflo_sync.warehouse.schema.columns.versions_table`); the record's own table then has a
        column ``content_hash``. None where only the rows are kept.
    :param listing: its list, which a poll walks; a walk of all of it moves the watermark of this name. None
        where ``read_all`` gives all records in one answer, of which no watermark is kept.
    :param reads: how events and people have it read directly, the read that serves others first.
    :param events: the webhooks that tell of its records.
    :param payloads: the webhooks from which its rows are derived where Enerflo does not give them.
    :param swept: the watermark of the last walk of all, where a poll asks for what is new only.
    :param shrink_floor: how many records may be missing from the list whatever their share, before it is
        not believed: of a table whose rows say little each, or a list that may leave some out.
    :param by_default: whether it is read where ``sync.yaml`` does not name it.
    :param backfilled_by: the column of its rows, and of ``enerflo.installs``, by which a backfill knows the
        records of the installs it is about; None where a backfill leaves them to the poll.
    :param witnessed: how webhooks tell of its changes; None where none does.
    :param with_keys: gives the resource as it is read with an account's component keys.
    """

    name: str
    id_field: str
    parts: tuple[Part, ...]
    read: Callable[[Record], Sequence[Sequence[Row] | None]]
    known_fields: frozenset[str]
    order: int = 100
    unknown_within: Callable[[Record], Iterable[str]] = lambda _: ()
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
        """Return the column of that table which holds the record's id."""
        return next(column.name for column in self.table.primary_key.columns if column.name != "account")

    @property
    def names(self) -> Mapping[str, str]:
        """Return what a template of SQL calls ``name``, ``table``, ``id`` and, where kept, ``versions``."""
        names = {"name": str(self.table.name), "table": self.table.fullname, "id": self.id_column}
        return names if self.versions is None else names | {"versions": self.versions.fullname}

    @property
    def is_read_by_key(self) -> bool:
        """Return whether one record is read by itself, so that a 404 is evidence of its deletion."""
        return any(read.owner is None for read in self.reads)

    def digest(self, stable: bytes) -> bytes:
        """Return what is equal only for equal bytes that are read by the same reader; no parsing."""
        return raw_hash(stable) + self.reader

    def key(self, record_id: int) -> Mapping[str, int]:
        """Return the record's key as quarantine and reports write it."""
        return {self.id_column: record_id}

    def usual_rows(self, stable: bytes) -> Sequence[Sequence[Row]] | None:
        """Return the rows of a record in its usual form, None for any other; raises nothing."""
        # One byte is found many times faster than several, and most records have no escapes at all.
        if self.read_usual is None or (b"\\" in stable and b"\\u0000" in stable):
            return None
        return self.read_usual(stable)

    def rows_of(self, stable: bytes) -> Sequence[Sequence[Row] | None]:
        """Return the rows of each part from a record's bytes, None for a part that it does not tell.

        :raises BadRecordError: as :attr:`read`, and where the bytes are no JSON object.
        """
        usual = self.usual_rows(stable)
        return self.read(decode(stable)[0]) if usual is None else usual

    def rows_by_column(self, record: Record) -> list[list[dict[str, Any]]]:
        """Return the rows of each part by column; none of a part that the record does not tell.

        :raises BadRecordError: as :attr:`read`.
        """
        return [
            [dict(zip(part.columns, row, strict=True)) for row in rows or ()]
            for part, rows in zip(self.parts, self.read(record), strict=True)
        ]

    def record_id(self, raw: bytes | memoryview) -> int:
        """Return the record's own id without decoding the rest.

        :raises BadRecordError: there is none, or it is no whole number from 1 to 2^63 - 1.
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
    """Return the record: its own row comes from all of it (:attr:`Part.items`)."""
    return (record,)


def _raising_bad_record(read: Callable[[Record], Sequence[Sequence[Row] | None]]) -> Callable[..., Any]:
    """Return ``read``, of which every error is the record's (:func:`enerflo_sync.errors.bad_record`)."""

    @functools.wraps(read)
    def reading(record: Record) -> Sequence[Sequence[Row] | None]:
        try:
            return read(record)
        except BadRecordError:
            raise
        except Exception as error:
            raise bad_record(error) from None

    return reading
