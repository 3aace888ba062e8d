"""The CRM as a company at Salesforce: its REST API over the tables that people work in, in process.

It knows the API by its documentation and shares no code with the engine. Records are modified at whole seconds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import psycopg
import requests
from requests.adapters import BaseAdapter

from enerflo_sync.clock import Clock
from tests.simulation.desk import Desk
from tests.simulation.process import Boundary, Process
from tests.simulation.shapes import MODIFIED, RECORD_ID, Shape
from tests.simulation.watch import Watch

ADDRESS = "https://sales.example"
Answer = tuple[int, Any]

# Fields by which one record is found, each unique.
_EXTERNAL = {
    "installs": ("enerflo_install_id", "job_id"),
    "notes": ("note_id", "enerflo_note_id"),
    "leads": ("lead_id", "enerflo_customer_id"),
    "change_orders": ("enerflo_change_order_id",),
}
_KINDS = {
    **dict.fromkeys(("bigint", "integer", "numeric"), "double"),
    "timestamp with time zone": "datetime",
    **{name: name for name in ("boolean", "date")},
}
_READ_ONLY = (RECORD_ID, MODIFIED, "updated_at", "is_deleted")
_COLUMNS = """
select column_name, data_type from information_schema.columns
where table_schema = 'office' and table_name = %(table)s order by 1
"""
# What a request that changes a record may carry: changes that are on their way, and noted as sent.
_SENT = """
select w.op, w."column", w.before, w.after, w.enerflo_key, w.kind, array(
  select o.after from told.crm_changes o
  where o.table_name = w.table_name and o.key = w.key and o."column" = w."column" and o.number < w.number) as ours
from told.crm_changes w
where w.table_name = %(table)s and w.state = 'open' and w.ended_at is null and w.sent_as_of is not null
  and %(row)s::jsonb @> w.key
"""
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Salesforce:
    """One company.

    :param desk: writes at once, in transactions of its own.
    :param watch: is told of what is broken.
    :ivar quiet: nothing goes wrong any more.
    """

    def __init__(self, desk: Desk, shape: Shape, clock: Clock, watch: Watch, seed: int, rate: float) -> None:
        self.quiet = False
        self._desk = desk
        self._shape = shape
        self._clock = clock
        self._watch = watch
        self._rng = rng = random.Random(f"{seed}/salesforce")
        # How often an answer gets lost after a write and before one, a record is refused, the company takes no
        # changes for a whole job, and a person edits a record between our read and our write.
        self._lost, self._early = (0.3 * rate * rng.random() ** 2 for _ in range(2))
        self._refuses, self._closes = (0.1 * rate * rng.random() ** 2 for _ in range(2))
        self._edited = 0.5 * rate * rng.random()
        self._closed = False

    def session_of(self, process: Process) -> requests.Session:
        """Return a session that reaches this company only; for its time the company may be closed."""
        self._closed = not self.quiet and self._rng.random() < self._closes
        session = requests.Session()
        session.trust_env = False
        session.adapters.clear()
        session.mount("https://", _Adapter(self, process))
        return session

    def answer(self, request: requests.PreparedRequest) -> Answer | None:
        """Carry out a request; return status and body, None where the answer is lost."""
        method, parts = str(request.method), urlsplit(str(request.url))
        path = [unquote(one) for one in parts.path.split("/services/data/v61.0/")[1].split("/")]
        body = _decode(request.body) if request.body else None
        writes = method in ("PATCH", "DELETE") or (method == "POST" and path[0] == "sobjects")
        if self._happens(self._early):
            return None if self._rng.random() < 0.5 else (503, _refusal("SERVER_UNAVAILABLE"))
        if writes and self._closed:
            return 503, _refusal("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE")
        if writes and self._happens(self._refuses):
            return 400, _refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION")
        said = self._carried_out(method, path, parse_qs(parts.query), body, request.headers)
        return None if writes and self._happens(self._lost) else said

    def _happens(self, rate: float) -> bool:
        return not self.quiet and self._rng.random() < rate

    def _carried_out(self, method: str, path: list[str], query: Any, body: Any, headers: Any) -> Answer:
        match path, method:
            case ["sobjects", table, "describe"], "GET":
                return 200, self._describe(table)
            case ["query"], "GET":
                return 200, self._search(query["q"][0])
            case ["composite", "sobjects", table], "POST":
                found = [self._row(table, RECORD_ID, one) for one in body["ids"]]
                return 200, [row and self._shown(row, body["fields"]) for row in found]
            case ["sobjects", table], "POST":
                return self._create(table, body)
            case ["sobjects", table, id_], "PATCH":
                return self._update(table, id_, body, headers)
            case ["sobjects", table, field, value], "GET":
                row = self._row(table, field, value)
                asked = query["fields"][0].split(",")
                return (200, self._shown(row, asked)) if row is not None else (404, _refusal("NOT_FOUND"))
        return 404, _refusal("NOT_FOUND")

    # -- reading ----------------------------------------------------------------------------------------------

    def _describe(self, table: str) -> dict[str, Any]:
        fields = []
        for name, kind in self._desk.run(_COLUMNS, table=table):
            written = name not in _READ_ONLY
            unique = name in _EXTERNAL[table]
            fields.append(
                {
                    **{"name": _field_of(name), "type": _KINDS.get(kind, "string")},
                    **{"updateable": written, "createable": written, "externalId": unique, "unique": unique},
                }
            )
        return {"name": table, "updateable": True, "createable": True, "deletable": True, "fields": fields}

    def _row(self, table: str, column: str, value: str) -> dict[str, Any] | None:
        query = f"select to_jsonb(t)::text from office.{table} t where t.{column}::text = %(value)s"
        rows = [_decode(row[0]) for row in self._desk.run(query, value=value)]
        return next((row for row in rows if not row.get("is_deleted")), None)

    def _shown(self, row: dict[str, Any], fields: list[str]) -> dict[str, Any]:
        return {name: row[_column_of(name)] for name in fields}

    def _search(self, soql: str) -> dict[str, Any]:
        asked = re.fullmatch(r"SELECT (\w+) FROM (\w+) WHERE \1 LIKE '%(.*)%' LIMIT (\d+)", soql)
        assert asked is not None, soql
        field, table, part, limit = asked.groups()
        query = (
            f"select {field} from office.{table} where strpos(lower({field}::text), lower(%(part)s)) > 0"
            " limit %(limit)s"
        )
        rows = self._desk.run(query, part=re.sub(r"\\(.)", r"\1", part), limit=int(limit))
        return {"totalSize": len(rows), "done": True, "records": [{field: row[0]} for row in rows]}

    # -- writing ----------------------------------------------------------------------------------------------

    def _update(self, table: str, id_: str, body: dict[str, Any], headers: Any) -> Answer:
        if self._happens(self._edited) and table == "installs" and "status" in body:
            self._somebody_edits(id_)
        row = self._row(table, RECORD_ID, id_)
        if row is None:
            return 404, _refusal("NOT_FOUND")
        condition = headers.get("If-Unmodified-Since")
        if condition is not None and datetime.fromisoformat(row[MODIFIED]) > parsedate_to_datetime(condition):
            return 412, []
        self._may_say(table, row, body)
        sets = ", ".join(f"{name} = v.{name}" for name in body)
        statement = (
            f"update office.{table} t set {sets}, updated_at = %(now)s"
            f" from jsonb_populate_record(null::office.{table}, %(values)s::jsonb) v where t.{RECORD_ID} = %(id)s"
        )
        return self._written(statement, 204, values=_text(body), id=id_)

    def _somebody_edits(self, id_: str) -> None:
        """Let a person change the very field between our read and our write."""
        status = self._rng.choice(("In progress", "On Hold", "Pending KCA"))
        edit = (
            f"update office.installs set status = %(status)s, updated_at = %(now)s where {RECORD_ID} = %(id)s"
        )
        self._desk.at_once(lambda: self._desk.run(edit, status=status, id=id_))

    def _create(self, table: str, body: dict[str, Any]) -> Answer:
        names = ", ".join(body)
        statement = (
            f"insert into office.{table} ({names}, updated_at) select {', '.join(f'v.{name}' for name in body)},"
            f" %(now)s from jsonb_populate_record(null::office.{table}, %(values)s::jsonb) v"
        )
        return self._written(statement, 201, values=_text(body))

    def _written(self, statement: str, status: int, **values: Any) -> Answer:
        try:
            with self._as_the_jobs():
                self._desk.run(statement, **values)
        except psycopg.errors.LockNotAvailable:
            return 400, _refusal("UNABLE_TO_LOCK_ROW")
        except psycopg.errors.UniqueViolation:
            return 400, _refusal("DUPLICATE_VALUE")
        except psycopg.errors.IntegrityError:
            return 400, _refusal("REQUIRED_FIELD_MISSING")
        return status, {"id": "made", "success": True, "errors": []} if status == 201 else None

    @contextmanager
    def _as_the_jobs(self) -> Iterator[None]:
        with self._desk.writing_as("courier"):
            yield

    def _may_say(self, table: str, row: dict[str, Any], body: dict[str, Any]) -> None:
        """Complain where a request sets what no change is to set, or overwrites what moved since."""
        plain, record = self._shape.plain, self._shape.join_of(table, row)
        sent = self._desk.run(_SENT, table=table, row=_text(row))
        for column, value in body.items():
            said = plain(table, column, row[column])
            changes = [one for one in sent if one[1] == column and one[3] is not None]
            what = f"crm.{table} {self._shape.key_of(table, row)}: {column} was {said}, and a request set {value}"
            if not changes:
                self._watch.breaks(f"{what}, which no change on its way says")
            elif row[column] == value:
                self._watch.breaks(f"{what}, once more")
            for _, _, before, _, key, kind, ours in changes:
                expected = [plain(table, column, one) for one in (before, *ours)]
                if said not in expected:
                    self._watch.breaks(f"{what}, where {expected} was expected")
                links = kind == "link" or column in self._shape.tables[table].joins
                if not links and key is not None and tuple(key.values()) != record:
                    self._watch.breaks(f"{what}, of {record}, and the change is about {key}")


class _Adapter(BaseAdapter):
    """Answers one process, with a boundary before and after each request."""

    def __init__(self, company: Salesforce, process: Process) -> None:
        super().__init__()
        self._company = company
        self._process = process

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self._process.at(Boundary.REQUEST)
        said = self._company.answer(request)
        self._process.at(Boundary.ANSWER)
        if said is None:
            raise requests.exceptions.ConnectionError("Remote end closed connection", request=request)
        made = requests.Response()
        made.status_code, body = said
        made._content = b"" if body is None else _text(body).encode()
        made.request, made.url = request, str(request.url)
        made.headers["Date"] = format_datetime(self._company._clock.now().astimezone(UTC), usegmt=True)
        made.headers["Sforce-Limit-Info"] = "api-usage=10/100000"
        return made

    def close(self) -> None:
        """Release nothing: there is no connection."""


def _refusal(code: str) -> list[dict[str, str]]:
    return [{"message": "not told", "errorCode": code}]


def _field_of(column: str) -> str:
    return {RECORD_ID: "Id", MODIFIED: "LastModifiedDate"}.get(column, column)


def _column_of(field: str) -> str:
    return {"Id": RECORD_ID, "LastModifiedDate": MODIFIED}.get(field, field)


def _text(value: Any) -> str:
    return msgspec.json.Encoder(decimal_format="number").encode(value).decode()
