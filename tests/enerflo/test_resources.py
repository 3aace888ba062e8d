"""Each resource asks the right endpoint and reads every form its answer is known to take."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from enerflo_sync.enerflo.change_orders import (
    read_change_order,
    read_install_change_orders,
)
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.customers import read_customer, update_customer
from enerflo_sync.enerflo.failures import OutcomeUnknownError, VendorRefusedError
from enerflo_sync.enerflo.installs import find_install, read_install, update_install
from enerflo_sync.enerflo.leads import add_lead
from enerflo_sync.enerflo.milestones import update_milestone
from enerflo_sync.enerflo.notes import add_note, read_install_notes
from enerflo_sync.enerflo.statuses import Status, read_statuses
from enerflo_sync.errors import BadRecordError, ContractDriftError
from enerflo_sync.resources.change_orders import ORDER_LIST
from enerflo_sync.resources.customers import CUSTOMER_LIST
from enerflo_sync.resources.installs import INSTALL_LIST
from enerflo_sync.resources.notes import NOTE_LIST

from .conftest import Reply, ScriptedServer

DEAL = "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
LEAD = {
    "first_name": "Jane",
    "last_name": "Doe",
    "address": "123 Main",
    "city": "Austin",
    "state": "TX",
    "zip": "78701",
    "integration_record_id": "lead-1",
}


@pytest.mark.parametrize(
    ("act", "method", "path"),
    [
        (lambda c: read_install(c, 12), "GET", "/api/v3/installs/12"),
        (lambda c: read_install(c, "12"), "GET", "/api/v3/installs/12"),
        (lambda c: find_install(c, DEAL), "GET", f"/api/v3/installs/find/{DEAL.lower()}"),
        (lambda c: update_install(c, 12, {"status_id": 4}), "PUT", "/api/v3/installs/12"),
        (lambda c: update_milestone(c, 12, 7, {}), "PUT", "/api/v3/installs/12/milestones/7"),
        (lambda c: add_note(c, 12, {"note": "hello"}), "POST", "/api/v3/installs/12/notes"),
        (lambda c: read_customer(c, 5), "GET", "/api/v3/customers/5"),
        (lambda c: read_customer(c, DEAL), "GET", f"/api/v3/customers/{DEAL.lower()}"),
        (lambda c: update_customer(c, 5, {}), "PUT", "/api/v3/customers/5"),
        (lambda c: read_change_order(c, 12), "GET", "/api/v3/change-orders/12"),
    ],
)
def test_each_call_goes_to_its_endpoint(
    client: EnerfloClient,
    server: ScriptedServer,
    act: Callable[[EnerfloClient], bytes],
    method: str,
    path: str,
) -> None:
    server.script = [Reply(body=b'{"id": 12}')]
    assert act(client) == b'{"id": 12}'
    assert (server.asked[0].method, server.asked[0].path) == (method, path)


@pytest.mark.parametrize(
    "bad", [0, -1, 1 << 63, 1.5, True, None, "", "12/../13", "1?x=1", " 1", "1 2", "abc", DEAL]
)
def test_an_id_that_is_none_never_reaches_the_server(
    client: EnerfloClient, server: ScriptedServer, bad: object
) -> None:
    for act in (read_install, read_change_order, read_install_change_orders, read_install_notes):
        with pytest.raises(BadRecordError):
            act(client, bad)  # type: ignore[operator]
    with pytest.raises(BadRecordError):
        add_note(client, bad, {})  # type: ignore[arg-type]
    with pytest.raises(BadRecordError):
        update_milestone(client, 1, bad, {})  # type: ignore[arg-type]
    assert server.asked == []


@pytest.mark.parametrize("bad", [12, "12", "", "not-a-uuid", DEAL + "/x", f"../{DEAL}"])
def test_a_deal_id_that_is_no_uuid_never_reaches_the_server(
    client: EnerfloClient, server: ScriptedServer, bad: object
) -> None:
    with pytest.raises(BadRecordError):
        find_install(client, bad)  # type: ignore[arg-type]
    assert server.asked == []


@pytest.mark.parametrize("body", [b"[]", b"{}", b" [ ] "])
def test_phps_empty_object_is_a_bad_record_and_no_evidence_of_deletion(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.script = [Reply(body=body)]
    with pytest.raises(BadRecordError, match="empty object"):
        read_install(client, 12)


def test_installs_are_asked_for_in_large_pages(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"total": 1, "results": [{"id": 1}]}')]
    assert [bytes(row) for page in INSTALL_LIST.walk(client) for row in page.records] == [b'{"id": 1}']
    assert server.asked[0].path == "/api/v3/installs"
    assert server.asked[0].query == {"page": "1", "per_page": "500"}


def test_notes_are_asked_for_by_creation_in_utc_and_oldest_first(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'{"success": true, "page": 1, "totalPages": 1, "notes": [{"note_id": 3}]}')]
    since = datetime(2026, 9, 18, 8, 0, 0, 900_000, tzinfo=timezone(timedelta(hours=-7)))
    walk = NOTE_LIST.walk(client, since)
    assert [bytes(row) for page in walk for row in page.records] == [b'{"note_id": 3}']
    assert walk.complete
    assert server.asked[0].path == "/api/v3/installs/notes"
    assert server.asked[0].query == {
        "page": "1",
        "pageSize": "100",
        "orderDir": "asc",
        "created_after": "2026-09-18T15:00:00Z",
    }


def test_a_naive_moment_is_not_taken_for_notes(client: EnerfloClient) -> None:
    with pytest.raises(ValueError, match="aware"):
        NOTE_LIST.walk(client, datetime(2026, 9, 18))


def test_customers_are_read_by_their_own_names(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"dataCount": 2, "data": [{"id": 2}, {"id": 1}]}')]
    walk = CUSTOMER_LIST.walk(client)
    assert sum(len(page.records) for page in walk) == 2
    assert walk.complete
    assert server.asked[0].query == {"page": "1", "pageSize": "500"}


@pytest.mark.parametrize(
    "wrap",
    [
        '{"total": 1, "results": %s}',
        '{"dataCount": 1, "data": %s}',
        '{"totalPages": 1, "change_orders": %s}',
    ],
)
def test_change_orders_are_found_in_any_known_wrapping(
    client: EnerfloClient, server: ScriptedServer, wrap: str
) -> None:
    server.handler = lambda asked: Reply(body=(wrap % '[{"id": 9}]').encode())
    walk = ORDER_LIST.walk(client)
    assert [bytes(row) for page in walk for row in page.records] == [b'{"id": 9}']
    assert walk.complete
    assert server.asked[0].query == {"page": "1", "per_page": "500", "pageSize": "500"}
    assert [bytes(row) for row in read_install_change_orders(client, 12)] == [b'{"id": 9}']
    assert server.asked[1].path == "/api/v3/installs/12/change-order-data"


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id": 4, "name": "On Hold"}, {"id": "323", "name": "Pending KCA"}]',
        b'{"results": [{"id": 4, "name": "On Hold", "color": "red"}, {"id": 323, "name": "Pending KCA"}]}',
        b'{"success": true, "data": [{"id": 4, "name": "On Hold"}, {"id": 323, "name": "Pending KCA"}]}',
        b'{"data": {"0": {"id": 4, "name": "On Hold"}, "7": {"id": 323, "name": "Pending KCA"}}}',
    ],
)
def test_statuses_are_found_in_any_known_wrapping(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.script = [Reply(body=body)]
    assert read_statuses(client, company_id=8) == [Status(4, "On Hold"), Status(323, "Pending KCA")]
    assert server.asked[0].query == {"company_id": "8"}


@pytest.mark.parametrize(
    "row", [b'{"id": 4}', b'{"id": "four", "name": "x"}', b"7", b'{"id": 4, "name": null}']
)
def test_a_status_without_id_or_name_is_a_bad_record(
    client: EnerfloClient, server: ScriptedServer, row: bytes
) -> None:
    server.script = [Reply(body=b"[" + row + b"]")]
    with pytest.raises(BadRecordError, match="install status"):
        read_statuses(client)


def test_statuses_under_an_unknown_key_are_contract_drift(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'{"items": []}')]
    with pytest.raises(ContractDriftError, match="results or data"):
        read_statuses(client)


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": "success", "customer_id": 12345}',
        b'{"status": "success", "customer_id": "12345"}',
        b'{"data": {"lead": {"id": 12345, "first_name": "Jane"}}, "message": "Lead Updated"}',
        b'{"customer_id": 12345, "data": []}',
    ],
)
def test_a_lead_is_sent_wrapped_and_its_customer_id_read_from_both_answers(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.script = [Reply(body=body)]
    assert add_lead(client, LEAD) == 12345
    assert (server.asked[0].method, server.asked[0].path) == ("POST", "/api/v1/partner/action/lead/add")
    assert json.loads(server.asked[0].body) == {"lead": LEAD}


@pytest.mark.parametrize(
    "body", [b"", b'{"status": "success"}', b'"Lead Updated"', b'{"customer_id": "abc"}']
)
def test_a_lead_that_was_taken_without_an_id_is_contract_drift(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.script = [Reply(body=body)]
    with pytest.raises(ContractDriftError, match="without a customer id"):
        add_lead(client, LEAD)


def test_a_lead_that_was_refused_or_is_in_doubt_says_so(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'{"status": "error"}'), Reply(504)]
    with pytest.raises(VendorRefusedError):
        add_lead(client, LEAD)
    with pytest.raises(OutcomeUnknownError):
        add_lead(client, LEAD)


def test_a_lead_without_its_required_fields_is_not_sent(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    with pytest.raises(BadRecordError, match="city, zip") as raised:
        add_lead(client, {**LEAD, "city": "", "zip": None})
    assert raised.value.field == "city"
    assert server.asked == []


def test_moments_are_compared_in_utc(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"totalPages": 0, "notes": []}')]
    walk = NOTE_LIST.walk(client, datetime(2026, 1, 1, tzinfo=UTC))
    assert list(walk) == []
    assert walk.complete
