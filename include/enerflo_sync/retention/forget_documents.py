"""Erases one customer's data in documents stored as Enerflo sent them: versions, payloads, quarantine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError
from enerflo_sync.inbox.forgotten_events import erased_body, is_about
from enerflo_sync.inbox.identify import identify
from enerflo_sync.inbox.json_text import canonical_json
from enerflo_sync.inbox.submission import ERASED
from enerflo_sync.mirror.declared import with_declared
from enerflo_sync.mirror.erase import blanked
from enerflo_sync.mirror.forgotten import Forgotten, erased_record, personal_columns
from enerflo_sync.resources.event import at
from enerflo_sync.resources.registry import ALL, READS
from enerflo_sync.resources.resource import DirectRead, Resource
from enerflo_sync.retention.forget_former import FormerVersion
from enerflo_sync.retention.forget_rows import owned
from enerflo_sync.retention.forget_words import SHORTEST, erase_words, is_certain

_SUBMITTED_CUSTOMER = "payload.customer.id"
# Mirror columns that identify a person, and columns that name a person but may have the same value for
# others.
REACHED_AT = frozenset({"email", "mobile"})
NAMED_BY = frozenset({"customer_name", "address", "street"})
# Columns whose values many people have: such a value counts only beside a value of the other columns.
BESIDE = frozenset({"first_name", "last_name", "city", "zip", "postal_code"})

_VALUES = sa.text("""
/* enerflo-sync forget: values that identify or name a customer */
select distinct v.kind, v.value from (
  select u.* from enerflo.customers c cross join lateral (values ('email', c.email), ('mobile', c.mobile),
    ('address', c.address), ('customer_name', concat_ws(' ', c.first_name, c.last_name)), ('city', c.city),
    ('first_name', c.first_name), ('last_name', c.last_name), ('zip', c.zip)) u (kind, value)
  where c.account = :account and c.customer_id = any(:customers)
  union all
  select 'customer_name', customer_name from enerflo.installs where account = :account
    and (customer_id = any(:customers) or install_id = any(:installs))
  union all
  select u.* from enerflo.submissions s cross join lateral (values ('street', s.street), ('city', s.city),
    ('zip', s.postal_code)) u (kind, value)
  where s.account = :account and (s.deal_id = any(:uuids) or s.install_id = any(:installs))
) v where v.value is not null
""")
# A couple may share one e-mail address, and a salesperson may enter their own for many customers.
_SHARED = sa.text("""
/* enerflo-sync forget: values that other customers of the account have */
select v.value from unnest(cast(:values as text[])) v (value)
where exists (select from enerflo.customers c where c.account = :account
  and not c.customer_id = any(:customers) and v.value in (c.email, c.mobile))
""")
_SHARED_VERSION = Template("""
/* enerflo-sync forget: values in versions of other people's $name */
select v.value from unnest(cast(:values as text[])) v (value)
where exists (select from $versions o join $table t using (account, $id) where o.account = :account
  and not coalesce($owned, false) and not o.content_hash = any(:former) and strpos(o.raw::text, v.value) > 0)
""")
_OTHERS = sa.text("""
/* enerflo-sync forget: whether an event's ids are those of somebody else whom the mirror knows */
select exists (select from enerflo.customers where account = :account and customer_id = :customer
    and not customer_id = any(:customers))
  or exists (select from enerflo.installs i where i.account = :account
    and (i.install_id = :install or i.deal_id = :deal
      or i.install_id in (select s.install_id from enerflo.submissions s
        where s.account = :account and s.deal_id = :deal))
    and not i.install_id = any(:installs) and not coalesce(i.customer_id = any(:customers), false))
""").bindparams(
    sa.bindparam("customer", type_=sa.BigInteger),
    sa.bindparam("install", type_=sa.BigInteger),
    sa.bindparam("deal", type_=sa.Text),
)
_EVENTS = sa.text("""
/* enerflo-sync forget: events of a customer */
select event_id, record, install_id, body, theirs, holds from (
  select e.event_id, e.record, e.install_id, e.body::text as body,
    coalesce(e.install_id = any(:installs), false) or coalesce(e.deal_id = any(:uuids), false)
    or coalesce(e.record = any(:records), false) as theirs,
    exists (select from unnest(cast(:values as text[])) v (value)
      where strpos(e.body::text, v.value) > 0) as holds
  from sync.webhook_events e where e.account = :account and e.body is not null
) e
where theirs or holds
  or e.body ~ :names
order by event_id
""")
_SET_BODY = sa.text("""
/* enerflo-sync forget: an event without personal data */
update sync.webhook_events set body = cast(:body as json) where account = :account and event_id = :event_id
""")
_VERSIONS = Template("""
/* enerflo-sync forget: versions of a customer's $name */
select v.$id as id, v.content_hash, v.raw from $versions v
where v.account = :account and v.$id in (
  select t.$id from $table t where t.account = :account and $owned)
""")
_SET_VERSION = Template("""
/* enerflo-sync forget: a version without personal data */
update $versions set raw = cast(:raw as jsonb)
where account = :account and $id = :id and content_hash = :content_hash
""")
_QUARANTINE = """
/* enerflo-sync forget: items in quarantine of a customer */
update sync.quarantine set payload = null
where account = :account and payload is not null and length(payload) > 0 and (
  key ->> 'event_id' = any(:events)
  or table_name = 'customers' and key ->> 'customer_id' = any(:customer_texts)
  or key ->> 'install_id' = any(:install_texts)
  or {theirs}
  or (kind = 'record' and encode(payload, 'escape') ~ :names
      or exists (select from unnest(cast(:values as text[])) v (value)
        where position(convert_to(v.value, 'UTF8') in payload) > 0))
    -- An item that names another known record is not this customer's.
    and not ({known})
    and not coalesce(key ->> 'event_id' = any(:others), false))
"""
# Two conditions on the record's own key: whether the record is the customer's, and whether the mirror has it.
_THEIRS = Template("key ->> '$id' in (select $id::text from $table where account = :account and $owned)")
_KNOWN = Template("exists (select from $table t where t.account = :account and t.$id::text = key ->> '$id')")


@dataclass(frozen=True)
class Values:
    """Texts by which a customer's data is found.

    :param reached_at: e-mail addresses and phone numbers that no other customer has. A document with one of
        them is this customer's, unless it names somebody else.
    :param named_by: names and streets, which other people may have too.
    :param shared: e-mail addresses and phone numbers that other customers of the account have too.
    :param beside: parts of names, cities and postal codes, which count only beside one of the other values.
    """

    reached_at: frozenset[str]
    named_by: frozenset[str]
    shared: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Return all values."""
        return self.reached_at | self.named_by | self.shared | self.beside


@dataclass(frozen=True)
class Documents:
    """The events of a customer.

    :param uuids: the customer's uuids in these events.
    :param others: ids of events about somebody else that contain a value of the customer.
    """

    values: Values
    events: Sequence[sa.RowMapping]
    uuids: frozenset[str]
    others: frozenset[str] = frozenset()


def values_of(
    connection: sa.Connection,
    account: str,
    forgotten: Forgotten,
    told: Iterable[tuple[str, str]],
    former: Sequence[FormerVersion] = (),
    together: Forgotten | None = None,
) -> Values:
    """Return the texts by which a customer's data is found.

    :param told: further values with their mirror columns, such as values from the ledger.
    :param former: versions of records that formerly were the customer's.
    :param together: all who are being forgotten, this customer among them; none of them is another customer.
    """
    found = {(row.kind, row.value) for row in connection.execute(_VALUES, _ids(account, forgotten))} | set(
        told
    )
    for resource in ALL:
        for row in _versions(connection, account, forgotten, resource):
            found |= _texts(resource, row["raw"])
    for one in former:
        found |= _texts(one.resource, one.raw)
    values = {(kind, value.strip()) for kind, value in found if value.strip()}
    reached_at = frozenset(value for kind, value in values if kind in REACHED_AT and len(value) >= SHORTEST)
    named_by = frozenset(value for kind, value in values if kind in NAMED_BY and is_certain(value))
    beside = {
        value for kind, value in values if kind in BESIDE or (kind in NAMED_BY and not is_certain(value))
    }
    shared = frozenset(_shared(connection, account, together or forgotten, reached_at, former))
    return Values(reached_at - shared, named_by, shared, frozenset(beside))


def _shared(
    connection: sa.Connection,
    account: str,
    forgotten: Forgotten,
    values: Collection[str],
    former: Sequence[FormerVersion],
) -> Iterator[str]:
    """Yield the values that are also in another customer's mirror row or version."""
    if not values:
        return
    told = [_SHARED] + [
        sa.text(_SHARED_VERSION.substitute({**one.names, "owned": owned(one.table)}))
        for one in ALL
        if one.versions is not None
    ]
    hashes = sorted({one.content_hash for one in former})
    named = _ids(account, forgotten) | {"values": sorted(values), "former": hashes}
    for statement in told:
        used = {name: value for name, value in named.items() if name in statement._bindparams}
        yield from connection.scalars(statement, used)


def is_of_another(
    connection: sa.Connection, account: str, forgotten: Forgotten, body: Any, install_id: int | None = None
) -> bool:
    """Return whether an event names another customer, install or deal that the mirror has.

    Runs in the caller's transaction.

    :param install_id: the install that the event was found to be about, if the event does not name it.
    """
    known = identify(body, ())
    ids: dict[str, Any] = {"customer": None, "install": known.install_id or install_id}
    subject, _, key = (known.record or "").partition("/")
    if key.isdigit() and subject in READS:
        resource, read = READS[subject]
        owner = read.owner or resource.name
        ids |= {one: int(key) for one in ids if owner == f"{one}s"}
    named = _ids(account, forgotten) | ids | {"deal": known.deal_id}
    del named["uuids"]
    return bool(connection.scalar(_OTHERS, named))


def _texts(resource: Resource, raw: Any) -> set[tuple[str, str]]:
    """Return the personal texts in one version with their mirror columns."""
    found = set()
    with suppress(BadRecordError):
        for part, rows in zip(resource.parts, resource.rows_by_column(raw), strict=True):
            hidden = personal_columns(str(part.table.name))
            found |= {(name, str(row[name])) for row in rows for name in hidden if row.get(name) is not None}
    return found


def documents_of(connection: sa.Connection, account: str, forgotten: Forgotten, values: Values) -> Documents:
    """Return a customer's events, and the uuids under which these events name the customer."""
    records = [
        f"{read.subject}/{key}" for one in ALL for read in one.reads for key in _keys_of(one, read, forgotten)
    ]
    # An event that triggers no read may name its customer anywhere in its body.
    named = _ids(account, forgotten) | {"records": records, "values": sorted(values.reached_at)}
    found = connection.execute(_EVENTS, named | {"names": _names(forgotten)}).mappings()
    rows, others = [], set()
    for row in found.all():
        if row["theirs"] or is_about(body := _decoded(row), forgotten, ()):
            rows.append(row)
        elif row["holds"]:
            if is_of_another(connection, account, forgotten, body, row["install_id"]):
                others.add(row["event_id"])
            else:
                rows.append(row)
    uuids = {uuid for row in rows for uuid in _uuids(row)}
    return Documents(values, rows, frozenset(uuids), frozenset(others))


def _names(forgotten: Forgotten) -> str:
    """Return a regular expression that matches any of the customer's ids."""
    names = [*map(str, (*forgotten.customers, *forgotten.installs)), *forgotten.uuids]
    return rf"\y({'|'.join(map(re.escape, names))})\y"


def _keys_of(resource: Resource, read: DirectRead, forgotten: Forgotten) -> list[str]:
    """Return the keys under which events request a read of a customer's records."""
    owner = read.owner or resource.name
    numbers = {"customers": forgotten.customers, "installs": forgotten.installs}.get(owner, frozenset())
    return [*map(str, sorted(numbers)), *sorted(forgotten.uuids)]


def _decoded(row: sa.RowMapping) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(row["body"])
    return body


def _uuids(row: sa.RowMapping) -> Iterator[str]:
    subject, _, key = (row["record"] or "").partition("/")
    if subject == "customers" and not key.isdigit():
        yield key
    found = at(_decoded(row), _SUBMITTED_CUSTOMER)
    if isinstance(found, str):
        yield found.lower()


def erase_documents(
    connection: sa.Connection,
    account: str,
    forgotten: Forgotten,
    documents: Documents,
    former: Sequence[FormerVersion] = (),
) -> Iterator[tuple[str, int]]:
    """Erase a customer's data in events, versions, quarantine and sentences; yield each table and its count.

    :param former: versions of records that formerly were the customer's.
    """
    hits = 0
    for row in documents.events:
        body = _decoded(row)
        if ERASED in body:
            continue
        text = canonical_json(erased_body(body)).decode()
        connection.execute(_SET_BODY, {"account": account, "event_id": row["event_id"], "body": text})
        hits += 1
    yield "sync.webhook_events", hits
    for resource in ALL:
        if resource.versions is not None:
            theirs = [
                *(
                    (row["id"], row["content_hash"], row["raw"])
                    for row in _versions(connection, account, forgotten, resource)
                ),
                *((one.record_id, one.content_hash, one.raw) for one in former if one.resource is resource),
            ]
            yield resource.versions.fullname, _erase_versions(connection, account, resource, theirs)
    named = _ids(account, forgotten) | {
        "events": [row["event_id"] for row in documents.events],
        "others": sorted(documents.others),
        "values": sorted(documents.values.reached_at),
        "customer_texts": [str(one) for one in forgotten.customers],
        "install_texts": [str(one) for one in forgotten.installs],
        "names": _names(forgotten),
    }
    statement = _quarantine()
    named = {name: value for name, value in named.items() if name in statement._bindparams}
    yield "sync.quarantine", connection.execute(statement, named).rowcount
    values = documents.values
    certain = values.reached_at | values.named_by | values.shared
    yield from erase_words(connection, account, certain, values.beside)


def _quarantine() -> sa.TextClause:
    kinds = [(one, owned(one.table)) for one in ALL]
    theirs = [_THEIRS.substitute({**one.names, "owned": of}) for one, of in kinds if of]
    known = [_KNOWN.substitute(one.names) for one, of in kinds if of]
    return sa.text(_QUARANTINE.format(theirs=" or ".join(theirs), known=" or ".join(known)))


def _erase_versions(
    connection: sa.Connection, account: str, resource: Resource, versions: Iterable[tuple[int, str, Any]]
) -> int:
    declared = with_declared(connection, resource, account)
    setting, hits = sa.text(_SET_VERSION.substitute(resource.names)), 0
    for record_id, content_hash, before in versions:
        raw = _without_data(declared, before)
        if raw != before:
            values = {"account": account, "id": record_id, "content_hash": content_hash}
            connection.execute(setting, values | {"raw": msgspec.json.encode(raw).decode()})
            hits += 1
    return hits


def _versions(
    connection: sa.Connection, account: str, forgotten: Forgotten, resource: Resource
) -> Sequence[sa.RowMapping]:
    if resource.versions is None:
        return []
    statement = sa.text(_VERSIONS.substitute({**resource.names, "owned": owned(resource.table)}))
    named = {k: v for k, v in _ids(account, forgotten).items() if k in statement._bindparams}
    return connection.execute(statement, named).mappings().all()


def _without_data(resource: Resource, raw: Any) -> Any:
    try:
        return erased_record(resource, raw)
    except BadRecordError:
        # It is unknown which values of an unreadable version are personal, so all of them are erased.
        return blanked(raw)


def _ids(account: str, forgotten: Forgotten) -> dict[str, Any]:
    return {
        "account": account,
        "customers": sorted(forgotten.customers),
        "installs": sorted(forgotten.installs),
        "uuids": sorted(forgotten.uuids),
    }
