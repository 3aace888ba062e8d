"""The requests that we make of an object's records at Salesforce."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from enerflo_sync.copies.salesforce.session import WHERE, Answer, SalesforceSession
from enerflo_sync.errors import ConfigurationError, RetriableError

MODIFIED = "LastModifiedDate"
# Records that one request reads.
TOGETHER = 200


@dataclass(frozen=True)
class FieldInfo:
    """A field of an object as Salesforce describes it to our user.

    :param finds_one: an external id that no two records share.
    :param required: a new record needs a value for it, and Salesforce gives it none.
    """

    name: str
    type: str
    updateable: bool
    createable: bool
    finds_one: bool
    required: bool


@dataclass(frozen=True)
class ObjectInfo:
    """An object as Salesforce describes it to our user; a field that the user may not see is not there."""

    name: str
    fields: Mapping[str, FieldInfo]
    updateable: bool
    createable: bool
    deletable: bool


@dataclass(frozen=True)
class Record:
    """A record as it was read.

    :param modified: when it was last modified, by Salesforce's clock.
    :param read_at: Salesforce's time as it answered, in whole seconds; None where it did not say.
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

    def describe(self, where: str) -> ObjectInfo:
        """Return the object as our user sees it.

        :param where: what to name if there is no such object.
        :raises ConfigurationError: there is none, or the user may not see it.
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
        return info

    def read(self, ids: Sequence[str], fields: Iterable[str]) -> list[Record | None]:
        """Return records in the order of their ids, 200 at most; None: gone, or not to be seen."""
        wanted = {"ids": list(ids), "fields": sorted({*fields, "Id", MODIFIED})}
        answer = self._session.read("POST", f"/composite/sobjects/{self._name}", wanted)
        said = self._expected(answer, 200, list)
        if len(said) != len(ids):
            raise RetriableError(
                f"Salesforce returned {len(said)} records for {len(ids)} ids of {self._name}.",
                where=WHERE,
                next_step="Nothing was written. Run it again.",
            )
        return [self._record(one, answer, id_) for one, id_ in zip(said, ids, strict=True)]

    def find(self, field: str, value: str, fields: Iterable[str]) -> Record | None:
        """Return the record that an external id names.

        :raises RetriableError: several do.
        """
        names = ",".join(sorted({*fields, "Id", MODIFIED}))
        path = f"{self._path}/{field}/{quote(value, safe='')}?fields={quote(names, safe=',')}"
        answer = self._session.read("GET", path)
        if answer.status == 404:
            return None
        return self._record(self._expected(answer, 200, dict), answer, None)

    def update(self, record: Record, values: Mapping[str, Any]) -> Answer:
        """Set fields of a record if it was not modified since it was read, by seconds."""
        condition = format_datetime(record.modified.replace(microsecond=0), usegmt=True)
        # Assignment rules would give a lead or case another owner at each update, which nobody approved.
        headers = {"If-Unmodified-Since": condition, "Sforce-Auto-Assign": "FALSE"}
        return self._session.send("PATCH", f"{self._path}/{record.id}", values, headers)

    def create(self, values: Mapping[str, Any]) -> Answer:
        """Make a record."""
        return self._session.send("POST", self._path, values)

    def delete(self, record: Record) -> Answer:
        """Delete a record; Salesforce takes no condition here."""
        return self._session.send("DELETE", f"{self._path}/{record.id}")

    def _expected(self, answer: Answer, status: int, kind: type) -> Any:
        if answer.status == status and isinstance(answer.body, kind):
            return answer.body
        said = ", ".join(str(one) for one in answer.refusals) or str(answer.status)
        raise ConfigurationError(
            f"Salesforce does not take a read of {self._name} ({said}).",
            where=WHERE,
            next_step="Check the user's rights on the object and its fields, and api_version.",
        )

    def _record(self, said: Any, answer: Answer, asked: str | None) -> Record | None:
        if said is None:
            return None
        id_ = said.get("Id") if isinstance(said, dict) else None
        modified = said.get(MODIFIED) if isinstance(said, dict) else None
        # An id of 15 characters is the same one without its checksum.
        if not isinstance(id_, str) or not isinstance(modified, str) or (asked and id_[:15] != asked[:15]):
            raise RetriableError(
                f"Salesforce's answer to a read of {self._name} is about other records than those asked for.",
                where=WHERE,
                next_step="Nothing was written. Run it again.",
            )
        return Record(id_, said, moment(modified), answer.at)


def moment(text: str) -> datetime:
    """Return a time as Salesforce writes it (``2026-11-27T10:00:00.000+0000``)."""
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
