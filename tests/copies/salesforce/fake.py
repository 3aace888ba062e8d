"""A company at Salesforce behind a socket, as its REST API is documented; it shares no code with the engine.

Times have whole seconds, and go on by the fake's own clock. A copy job brings records into a table when a test
says so.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CLIENT, SECRET = "the-consumer-key", "the-consumer-secret"
FIELDS = {
    "Id": "id",
    "Name": "string",
    "StageName": "picklist",
    "System_Size__c": "double",
    "Amount": "currency",
    "Enerflo_Install_Id__c": "string",
    "IsDeleted": "boolean",
    "Permit_Approved_Date__c": "date",
    "RecordTypeName": "string",
    "LastModifiedDate": "datetime",
    "SystemModstamp": "datetime",
}
READ_ONLY = {"Id", "IsDeleted", "LastModifiedDate", "SystemModstamp"}
PAGE = b"<html>One moment, please.</html>"
_DATA = re.compile(r"/services/data/v\d+\.0(?P<rest>/.*)")

Answer = tuple[int, Any]


def refused(status: int, code: str, *fields: str, message: str = "A secret value stands here.") -> Answer:
    said: dict[str, Any] = {"message": message, "errorCode": code}
    return status, [said | ({"fields": list(fields)} if fields else {})]


@dataclass
class Company:
    """The records of one object, and what is to go wrong.

    :param rule: returns a refusal of a record as it would stand, or None.
    :param before: called with method and path of a write before it is carried out.
    :param trigger: changes a record that was written, in the same transaction.
    :param instead: answers a request, which is not carried out then; bytes are a page that is no JSON.
    :param lose: answers that are lost after the write, by number; ``unavailable`` those that are a 503 instead,
        and ``paged`` those in whose place a proxy sends a page.
    :param compared: the field that ``If-Unmodified-Since`` is compared with.
    """

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    used: int = 10
    limit: int = 100_000
    late: timedelta = timedelta(0)
    locked: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    unique: bool = True
    rule: Callable[[dict[str, Any]], Answer | None] | None = None
    before: Callable[[str, str], None] | None = None
    trigger: Callable[[dict[str, Any]], None] | None = None
    instead: Callable[[str, str], Answer | None] | None = None
    lose: int = 0
    unavailable: int = 0
    paged: int = 0
    compared: str = "LastModifiedDate"
    moved_to: str | None = None
    left_out: set[str] = field(default_factory=set)
    defaults: dict[str, Any] = field(default_factory=dict)
    expired: int = 0
    logins: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)
    writes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _token: str = ""

    def now(self) -> datetime:
        return (datetime.now(UTC) + self.late).replace(microsecond=0)

    def put(self, **values: Any) -> str:
        """Make a record long ago."""
        id_ = values.pop("Id", None) or f"006{len(self.records) + 1:012d}AAQ"
        blank = dict.fromkeys(FIELDS) | {
            "IsDeleted": False,
            "LastModifiedDate": "2020-01-01T00:00:00.000+0000",
        }
        self.records[id_] = blank | values | {"Id": id_}
        self.records[id_]["SystemModstamp"] = self.records[id_]["LastModifiedDate"]
        return id_

    def edit(self, id_: str, **values: Any) -> None:
        """Let a person change a record now."""
        self.records[id_] |= values | self.modified()

    def modified(self) -> dict[str, str]:
        return dict.fromkeys(("LastModifiedDate", "SystemModstamp"), self.stamp())

    def touch(self, id_: str, **values: Any) -> None:
        """Let Salesforce itself change a record: a sum over others, or a way back from the recycle bin."""
        self.records[id_] |= values | {"SystemModstamp": self.stamp()}

    def stamp(self) -> str:
        return f"{self.now():%Y-%m-%dT%H:%M:%S}.000+0000"

    # The API.

    def log_in(self, form: dict[str, list[str]]) -> Answer:
        if form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type", "error_description": "secret"}
        if (form.get("client_id"), form.get("client_secret")) != ([CLIENT], [SECRET]):
            return 400, {"error": "invalid_client", "error_description": "invalid client credentials"}
        self.logins += 1
        self._token = f"00D-token-{self.logins}"
        moved = {"instance_url": self.moved_to} if self.moved_to else {}
        return 200, {"access_token": self._token, "token_type": "Bearer", **moved}

    def handle(self, method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        if headers.get("Authorization") not in {f"Bearer {self._token}", "Bearer given"} or self.expired:
            self.expired = max(0, self.expired - 1)
            return refused(401, "INVALID_SESSION_ID")
        if self.used >= self.limit:
            return refused(403, "REQUEST_LIMIT_EXCEEDED")
        self.used += 1
        parts = urlsplit(url)
        rest = found["rest"] if (found := _DATA.fullmatch(parts.path)) else ""
        path = unquote(rest)
        self.calls.append((method, path))
        if self.instead is not None and (said := self.instead(method, path)) is not None:
            return said
        match [unquote(part) for part in rest.strip("/").split("/")], method:
            case ["sobjects", "Opportunity", "describe"], "GET":
                return 200, self.describe()
            case ["query"], "GET":
                return self.query(parse_qs(parts.query)["q"][0])
            case ["composite", "sobjects", "Opportunity"], "POST":
                return self.retrieve(body)
            case ["sobjects", "Opportunity"], "POST":
                return self.create(body)
            case ["sobjects", "Opportunity", id_], "PATCH":
                return self.update(id_, headers, body)
            case ["sobjects", "Opportunity", id_], "DELETE":
                return self.delete(id_)
            case ["sobjects", "Opportunity", name, value], "GET":
                return self.by_external_id(name, value, parse_qs(parts.query)["fields"][0].split(","))
        return refused(404, "NOT_FOUND")

    def describe(self) -> dict[str, Any]:
        fields = [
            {
                "name": name,
                "type": kind,
                "updateable": name not in READ_ONLY | self.locked,
                "createable": name not in READ_ONLY | self.locked,
                "externalId": name == "Enerflo_Install_Id__c",
                "unique": name == "Enerflo_Install_Id__c" and self.unique,
            }
            for name, kind in FIELDS.items()
            if name not in self.hidden
        ]
        rights = {"updateable": True, "createable": True, "deletable": True}
        return {"name": "Opportunity", **rights, "fields": fields}

    def shown(self, record: dict[str, Any], names: list[str]) -> dict[str, Any]:
        values = {name: record[name] for name in names if name not in self.left_out}
        return {"attributes": {"type": "Opportunity"}, **values}

    def alive(self, id_: str) -> dict[str, Any] | None:
        full = next((one for one in self.records if one[:15] == id_[:15]), None)
        record = self.records[full] if full is not None else None
        return record if record is not None and not record["IsDeleted"] else None

    def retrieve(self, body: dict[str, list[str]]) -> Answer:
        if any(re.fullmatch(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?", one) is None for one in body["ids"]):
            return refused(400, "MALFORMED_ID")
        if len(body["ids"]) > 200 or (unknown := [one for one in body["fields"] if self.unknown(one)]):
            return refused(400, "INVALID_FIELD" if len(body["ids"]) <= 200 else "EXCEEDED_ID_LIMIT", *unknown)
        found = (self.alive(id_) for id_ in body["ids"])
        return 200, [one and self.shown(one, body["fields"]) for one in found]

    def unknown(self, name: str) -> bool:
        return name not in FIELDS or name in self.hidden

    def by_external_id(self, name: str, value: str, fields: list[str]) -> Answer:
        found = [one for one in self.records.values() if str(one[name]) == value and not one["IsDeleted"]]
        return (200, self.shown(found[0], fields)) if found else refused(404, "NOT_FOUND")

    def query(self, soql: str) -> Answer:
        asked = re.fullmatch(r"SELECT (\w+) FROM Opportunity WHERE \1 LIKE '%(.*)%' LIMIT (\d+)", soql)
        if asked is None or re.search(r"(?<!\\)(?:\\\\)*['%_]", asked[2]):
            return refused(400, "MALFORMED_QUERY")
        part, name = re.sub(r"\\(.)", r"\1", asked[2]).lower(), asked[1]
        alive = [one for one in self.records.values() if not one["IsDeleted"]]
        found = [one for one in alive if part in str(one[name] or "").lower()][: int(asked[3])]
        records = [self.shown(one, [name]) for one in found]
        return 200, {"totalSize": len(records), "done": True, "records": records}

    def checked(self, record: dict[str, Any], body: dict[str, Any]) -> Answer | None:
        for name, value in body.items():
            if self.unknown(name):
                return refused(400, "INVALID_FIELD", name)
            if name in READ_ONLY | self.locked:
                return refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE", name)
            kind = FIELDS[name]
            fits = {
                "double": (int, float),
                "currency": (int, float),
                "boolean": (bool,),
            }.get(kind, (str,))
            if value is not None and (not isinstance(value, fits) or (kind == "date" and len(value) != 10)):
                return refused(400, "JSON_PARSER_ERROR")
        return self.rule(record | body) if self.rule is not None else None

    def update(self, id_: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        if self.before is not None:
            self.before("PATCH", id_)
        record = self.alive(id_)
        if record is None:
            return refused(404, "NOT_FOUND")
        condition = headers.get("If-Unmodified-Since")
        modified = datetime.fromisoformat(record[self.compared])
        if condition is not None and modified > parsedate_to_datetime(condition):
            return 412, []
        if (refusal := self.checked(record, body)) is not None:
            return refusal
        self.writes.append(("PATCH", id_, body))
        self.headers.append(headers)
        record |= body | self.modified()
        if self.trigger is not None:
            self.trigger(record)
        return 204, None

    def create(self, body: dict[str, Any]) -> Answer:
        if self.before is not None:
            self.before("POST", "")
        key = body.get("Enerflo_Install_Id__c")
        if self.unique and any(
            one["Enerflo_Install_Id__c"] == key and not one["IsDeleted"] for one in self.records.values()
        ):
            return refused(400, "DUPLICATE_VALUE")
        if (refusal := self.checked({}, body)) is not None:
            return refusal
        self.writes.append(("POST", "", body))
        id_ = self.put(**(self.defaults | body), LastModifiedDate=self.stamp())
        return 201, {"id": id_, "success": True, "errors": []}

    def delete(self, id_: str) -> Answer:
        if self.before is not None:
            self.before("DELETE", id_)
        record = self.alive(id_)
        if record is None:
            return refused(404, "ENTITY_IS_DELETED")
        self.writes.append(("DELETE", id_, {}))
        record |= {"IsDeleted": True, **self.modified()}
        return 204, None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    company: Company

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        company = self.company
        if urlsplit(self.path).path == "/services/oauth2/token":
            self._answer(*company.log_in(parse_qs(content.decode())))
            return
        before = len(company.writes)
        body = json.loads(content) if content else None
        status, said = company.handle(self.command, self.path, dict(self.headers), body)
        if len(company.writes) > before and company.lose:
            company.lose -= 1
            self.close_connection = True
            return
        if len(company.writes) > before and company.paged:
            company.paged -= 1
            status, said = 200, PAGE
        if self.command in {"PATCH", "DELETE"} and company.unavailable:
            company.unavailable -= 1
            status, said = refused(503, "SERVER_UNAVAILABLE")
        self._answer(status, said)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self, status: int, said: Any) -> None:
        usage = f"api-usage={self.company.used}/{self.company.limit}"
        content = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.company.now(), usegmt=True))
        self.send_header("Sforce-Limit-Info", f"per-app-api-usage=1/250(appName=ours); {usage}")
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(company: Company) -> Iterator[str]:
    """Serve a company on this machine; yield its address."""
    handler = type("Handler", (_Handler,), {"company": company})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class WaitingClock:
    """The machine's clock, of which a wait is over at once: the company's time goes on by as much."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self.waited = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return datetime.now(UTC).timestamp()

    def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self._company.late += timedelta(seconds=seconds)
