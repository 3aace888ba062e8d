"""Our requests about the records of one Salesforce object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from enerflo_sync.copies.salesforce.session import WHERE, Answer, NoAnswerError, SalesforceSession
from enerflo_sync.errors import ConfigurationError, RetriableError

MODIFIED = "LastModifiedDate"
# This time also changes when Salesforce itself updates a record: a roll-up sum, an undelete.
_BY_SYSTEM = "SystemModstamp"
# How many records one request reads.
TOGETHER = 200
# How many records are searched for keys in another spelling.
_ALIKE = 200


@dataclass(frozen=True)
class FieldInfo:
    """A field of an object as Salesforce describes it to our user.

    :param finds_one: an external id that is unique among records.
    :param required: a new record needs a value for it, and Salesforce has no default.
    """

    name: str
    type: str
    updateable: bool
    createable: bool
    finds_one: bool
    required: bool


@dataclass(frozen=True)
class ObjectInfo:
    """An object as Salesforce describes it to our user; fields that the user may not see are missing."""

    name: str
    fields: Mapping[str, FieldInfo]
    updateable: bool
    createable: bool
    deletable: bool


@dataclass(frozen=True)
class Record:
    """A record as it was read.

    :param modified: when anybody, or Salesforce itself, last modified it, by Salesforce's clock.
    :param read_at: Salesforce's time of the answer, in whole seconds; None if the answer has none.
    """

    id: str
    values: Mapping[str, Any]
    modified: datetime
    read_at: datetime | None


class SalesforceObjectApi:
    """Reads and writes records of one object."""

    def __init__(self, session: SalesforceSession, name: str) -> None:
        self._session = session
        self._name = name
        self._path = f"/sobjects/{name}"
        self._times: tuple[str, ...] = (MODIFIED,)

    def describe(self, where: str) -> ObjectInfo:
        """Return the object as our user sees it.

        :param where: the option to name if the object does not exist.
        :raises ConfigurationError: the object does not exist, or the user may not see it.
        """
        answer = self._session.read("GET", f"{self._path}/describe")
        if answer.status == 404:
            raise ConfigurationError(
                f"Salesforce has no object {self._name}, or the user may not see it.",
                where=where,
                next_step="Write its API name (Setup, Object Manager), and let the user read it.",
            )
        said = self._expected(answer, 200, dict)
        fields = {one["name"]: _field(one) for one in said["fields"]}
        rights = {name: bool(said.get(name)) for name in ("updateable", "createable", "deletable")}
        info = ObjectInfo(self._name, fields, **rights)
        if MODIFIED not in fields:
            raise ConfigurationError(
                f"the object {self._name} does not say when a record was last modified ({MODIFIED}).",
                where=where,
                next_step="A change could not be tied to it: use write_to: changes for this table.",
            )
        self._times = tuple(name for name in (MODIFIED, _BY_SYSTEM) if name in fields)
        return info

    def read(self, ids: Sequence[str], fields: Iterable[str]) -> list[Record | None]:
        """Return records in the order of their ids, 200 at most; None: deleted, or not visible to us."""
        names = self._asked(fields)
        wanted = {"ids": list(ids), "fields": names}
        answer = self._session.read("POST", f"/composite/sobjects/{self._name}", wanted)
        said = self._expected(answer, 200, list)
        if len(said) != len(ids):
            raise RetriableError(
                f"Salesforce returned {len(said)} records for {len(ids)} ids of {self._name}.",
                where=WHERE,
                next_step="Nothing was written. Run it again.",
            )
        return [self._record(one, answer, names, id_) for one, id_ in zip(said, ids, strict=True)]

    def find(self, field: str, value: str, fields: Iterable[str]) -> Record | None:
        """Return the record with the value of a unique external id."""
        names = self._asked(fields)
        path = f"{self._path}/{field}/{quote(value, safe='')}?fields={quote(','.join(names), safe=',')}"
        answer = self._session.read("GET", path)
        if answer.status == 404:
            return None
        return self._record(self._expected(answer, 200, dict), answer, names, None)

    def alike(self, field: str, part: str) -> list[str] | None:
        """Return the values of a text field that contain a text; None if there are too many records.

        Salesforce compares without regard to case.
        """
        text = "".join(f"\\{one}" if one in "\\'%_" else one for one in part)
        query = f"SELECT {field} FROM {self._name} WHERE {field} LIKE '%{text}%' LIMIT {_ALIKE}"  # noqa: S608
        said = self._expected(self._session.read("GET", f"/query?q={quote(query, safe='')}"), 200, dict)
        records = said.get("records")
        if not said.get("done") or not isinstance(records, list) or len(records) == _ALIKE:
            return None
        return [str(one[field]) for one in records]

    def update(self, record: Record, values: Mapping[str, Any]) -> Answer:
        """Set fields of a record if it was not modified since it was read, to the second.

        :return: Salesforce's refusal, or its confirmation; likewise for the other two writes.
        """
        condition = format_datetime(record.modified.replace(microsecond=0), usegmt=True)
        # Assignment rules could give a lead or case another owner at each update, which nobody approved.
        headers = {"If-Unmodified-Since": condition, "Sforce-Auto-Assign": "FALSE"}
        return _plain(self._session.send("PATCH", f"{self._path}/{record.id}", values, headers), 204)

    def create(self, values: Mapping[str, Any]) -> Answer:
        """Make a record."""
        return _plain(self._session.send("POST", self._path, values), 201)

    def delete(self, record: Record) -> Answer:
        """Delete a record; Salesforce accepts no condition for this request."""
        return _plain(self._session.send("DELETE", f"{self._path}/{record.id}"), 204)

    def _expected(self, answer: Answer, status: int, kind: type) -> Any:
        if answer.status == status and isinstance(answer.body, kind):
            return answer.body
        said = ", ".join(str(one) for one in answer.refusals) or str(answer.status)
        raise ConfigurationError(
            f"Salesforce does not take a read of {self._name} ({said}).",
            where=WHERE,
            next_step="Check the user's rights on the object and its fields, and api_version.",
        )

    def _asked(self, fields: Iterable[str]) -> list[str]:
        return sorted({*fields, "Id", *self._times})

    def _record(self, said: Any, answer: Answer, names: Sequence[str], asked: str | None) -> Record | None:
        if said is None:
            return None
        values = said if isinstance(said, dict) else {}
        id_ = values.get("Id")
        # An id of 15 characters is the same id without its checksum.
        if not isinstance(id_, str) or (asked and id_[:15] != asked[:15]):
            raise RetriableError(
                f"Salesforce's answer to a read of {self._name} is about other records than those asked for.",
                where=WHERE,
                next_step="Nothing was written. Run it again.",
            )
        # A missing field is not an empty one.
        stamps = {name: values[name] for name in self._times if isinstance(values.get(name), str)}
        if missing := [name for name in names if name not in (stamps if name in self._times else values)]:
            raise RetriableError(
                f"Salesforce's answer to a read of {self._name} lacks {', '.join(missing)}.",
                where=WHERE,
                next_step="Nothing was written. Check the user's rights on these fields, and run it again.",
            )
        return Record(id_, values, max(moment(stamp) for stamp in stamps.values()), answer.at)


def _plain(answer: Answer, status: int) -> Answer:
    """Return the answer to a write; a proxy's page with status 200 does not confirm a write."""
    made = isinstance(answer.body, dict) and answer.body.get("success") is True
    if answer.status >= 300 or (answer.status == status and (status != 201 or made)):
        return answer
    raise NoAnswerError(
        f"Salesforce answers {answer.status} where a write that was made is answered by {status}.",
        where=WHERE,
        next_step="Check proxies between this machine and Salesforce, and run it again.",
    )


def moment(text: str) -> datetime:
    """Return the moment of a time in Salesforce's form (``2026-11-27T10:00:00.000+0000``)."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _field(said: Mapping[str, Any]) -> FieldInfo:
    unique = bool(said.get("externalId")) and bool(said.get("unique"))
    return FieldInfo(
        str(said["name"]),
        str(said.get("type")),
        bool(said.get("updateable")),
        bool(said.get("createable")),
        unique,
        bool(said.get("createable")) and said.get("nillable") is False and not said.get("defaultedOnCreate"),
    )
