"""The connection type enerflo against a company over HTTP, the warehouse's against PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import requests
import sqlalchemy as sa
from enerflo_airflow.accounts import sync_config
from enerflo_airflow.hook import EnerfloHook, crm_engine_of, open_account, warehouse_url

from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sandbox.server import SandboxServer
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.crm.elsewhere import CrmDatabase
from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_fixtures import INSTALLS, Setting, enerflo_connection, warehouse_connection


def hook_for(monkeypatch: pytest.MonkeyPatch, **connection: object) -> EnerfloHook:
    text = json.dumps({"conn_type": "enerflo", "password": "a-key", **connection})
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", text)
    return EnerfloHook()


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({}, "https://enerflo.io"),
        ({"port": 443}, "https://enerflo.io"),
        ({"host": "enerflo.io", "port": 8443}, "https://enerflo.io:8443"),
        ({"host": "https://staging.enerflo.io/", "port": 443}, "https://staging.enerflo.io"),
        ({"host": "http://127.0.0.1:8801"}, "http://127.0.0.1:8801"),
        ({"host": "http://127.0.0.1:8801", "port": 443}, "http://127.0.0.1:8801"),
        ({"host": "http://127.0.0.1", "port": 8801}, "http://127.0.0.1:8801"),
        ({"host": "127.0.0.1", "port": 8801, "schema": "http"}, "http://127.0.0.1:8801"),
        ({"host": "http://[::1]", "port": 8801}, "http://[::1]:8801"),
    ],
)
def test_the_address_is_put_together_from_host_and_port(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], address: str
) -> None:
    assert hook_for(monkeypatch, **fields).base_url == address


def test_the_test_button_says_that_the_key_is_accepted(connected: Setting) -> None:
    assert EnerfloHook().test_connection() == (True, f"{connected.sandbox_url} accepts the API key.")


def test_the_test_button_says_that_the_key_is_wrong(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(setting.sandbox_url, "wrong-key"))
    works, message = EnerfloHook().test_connection()
    assert not works
    assert "does not accept the API key (401)" in message
    assert "connection" in message
    assert "wrong-key" not in message


def test_the_test_button_says_that_nobody_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        works, message = hook_for(monkeypatch, host="http://127.0.0.1", port=port).test_connection()
    assert not works
    assert f"127.0.0.1:{port} refused the connection" in message
    assert "Check the host and port" in message


def test_the_test_button_says_that_a_host_does_not_speak_tls(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = setting.sandbox_url.replace("http://", "https://")
    works, message = hook_for(monkeypatch, host=address).test_connection()
    assert not works
    assert "does not speak TLS on that port" in message


def test_the_test_button_asks_for_a_key_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    works, message = hook_for(monkeypatch, password="").test_connection()
    assert not works
    assert "has no API key" in message


def test_an_undefined_connection_is_named_with_what_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ENERFLO_DEFAULT", raising=False)
    with pytest.raises(ConfigurationError, match=r"enerflo_default.*Admin, Connections.*Enerflo"):
        _ = EnerfloHook().api_key


def test_extras_of_the_form_shape_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = hook_for(monkeypatch, extra={"ca_bundle": "/etc/our-ca.pem", "proxy": "http://proxy:3128"})
    session = hook.get_conn()
    assert session.verify == "/etc/our-ca.pem"
    assert session.proxies == {"http": "http://proxy:3128", "https": "http://proxy:3128"}
    assert hook_for(monkeypatch).get_conn().verify is True
    assert hook_for(monkeypatch, extra={"verify": False}).get_conn().verify is False


def test_a_connection_written_as_a_uri_can_switch_verification_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", "enerflo://:a-key@enerflo.io:443/?verify=false")
    hook = EnerfloHook()
    assert hook.base_url == "https://enerflo.io"
    assert hook.api_key == "a-key"
    assert hook.get_conn().verify is False


def test_unknown_extras_and_the_login_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    session = hook_for(monkeypatch, login="someone", extra={"note": "private"}).get_conn()
    assert dict(session.headers) == dict(requests.utils.default_headers())
    assert session.auth is None
    assert session.proxies == {}


def test_the_warehouse_connection_opens_the_warehouse(connected: Setting) -> None:
    with warehouse_engine(warehouse_url("enerflo_warehouse")).connect() as connection:
        assert connection.scalar(sa.text("select count(*) from crm.installs"))


def test_libpq_extras_of_the_warehouse_connection_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"sslmode": "require", "connect_timeout": 5, "cursor": "dictcursor"}
    connection = {"conn_type": "postgres", "login": "me", "password": "p@ss/word", "host": "db", "port": 5433}
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps({**connection, "schema": "wh", "extra": extra}))
    url = sa.make_url(warehouse_url("pg"))
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "me",
        "p@ss/word",
        "db",
        5433,
        "wh",
    )
    assert dict(url.query) == {"sslmode": "require", "connect_timeout": "5"}


def test_a_warehouse_connection_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps({"conn_type": "mysql", "host": "db"}))
    with pytest.raises(ConfigurationError, match=r"of type mysql.*type to Postgres"):
        warehouse_url("pg")


def test_an_account_is_opened_with_the_connections_that_the_file_names(connected: Setting) -> None:
    with closing(open_account("default", reads_enerflo=True)) as place:
        assert place.client.check() is None
        with place.engine.connect() as connection:
            assert connection.scalar(sa.text("select count(*) from enerflo.installs")) == 0


def test_a_reconciliation_needs_no_enerflo_connection(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(setting.warehouse_url))
    with closing(open_account("default")) as place:
        assert run_reconcile(place).mirror_as_of is None


def test_a_wrong_key_in_the_connection_is_an_authentication_error(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(connected.sandbox_url, "wrong"))
    with closing(open_account("default", reads_enerflo=True)) as place, pytest.raises(AuthenticationError):
        run_poll(place)


def requests_counted(setting: Setting) -> int:
    """Return how many requests the budget has counted since a minute ago."""
    engine = warehouse_engine(setting.warehouse_url)
    query = "select count(*) from sync.request_slots where used_at > now() - interval '1 minute'"
    with engine.connect() as connection:
        counted = connection.scalar(sa.text(query)) or 0
    engine.dispose()
    return int(counted)


def test_a_session_of_the_hook_has_the_key_and_counts_in_the_budget(connected: Setting) -> None:
    before = requests_counted(connected)
    hook = EnerfloHook()
    with hook.get_conn() as session:
        answer = session.get(f"{hook.base_url}/api/v3/installs", params={"per_page": 1})
    assert answer.status_code == 200
    assert answer.json()["results"]
    assert requests_counted(connected) == before + 1
    assert "api-key" not in answer.request.headers


class _Redirecting(BaseHTTPRequestHandler):
    """Answers every request with a redirect, or with the key that it got."""

    to: ClassVar[str | None] = None

    def do_GET(self) -> None:
        self.send_response(302 if self.to else 200)
        if self.to:
            self.send_header("Location", self.to)
        body = str(self.headers.get("api-key")).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def serving(to: str | None) -> Iterator[str]:
    handler = type("Handler", (_Redirecting,), {"to": to})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_key_of_a_session_goes_to_the_connections_own_address_alone(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(None) as other, serving(other) as own:
        monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(own, "a-key"))
        with EnerfloHook().get_conn() as session:
            assert session.get(f"{own}/api/v3/installs").text == "None"
            assert session.get(f"{other}/api").text == "None"
            assert session.get(f"{own}/api", allow_redirects=False).text == "a-key"


def test_records_of_a_list_come_page_after_page_and_count_in_the_budget(connected: Setting) -> None:
    before = requests_counted(connected)
    found = list(EnerfloHook().get_records("/api/v3/installs", per_page=25))
    assert len({one["id"] for one in found}) == INSTALLS
    assert all(isinstance(one["customer"], dict) for one in found)
    assert requests_counted(connected) >= before + INSTALLS // 25


def test_records_come_while_other_coroutines_run(connected: Setting) -> None:
    async def read() -> list[Any]:
        return [one async for one in EnerfloHook().get_records_async("/api/v3/installs", per_page=25)]

    assert len({one["id"] for one in asyncio.run(read())}) == INSTALLS


def test_a_list_as_a_table_has_dotted_names(connected: Setting) -> None:
    found = EnerfloHook().get_df("/api/v3/installs")
    assert len(found.drop_duplicates("id")) == INSTALLS
    assert {"id", "customer.first_name"} <= set(found.columns)


def test_a_list_of_unknown_form_is_asked_for_it(connected: Setting) -> None:
    with pytest.raises(ConfigurationError, match=r"GET /api/v3/users: the form of this list is not known"):
        list(EnerfloHook().get_records("/api/v3/users"))
    form = Envelope("results", total_key="total")
    found = list(EnerfloHook().get_records("/api/v3/installs", envelope=form, params={"sort": "id"}))
    assert len({one["id"] for one in found}) == INSTALLS


def test_a_list_that_is_not_read_whole_is_no_list(connected: Setting, company: SandboxServer) -> None:
    company.api.faults = Faults(script=[ScriptedFault(FaultKind.SHORT_PAGE, "/api/v3/installs", 1, 99)])
    try:
        with pytest.raises(RetriableError, match="was not read whole"):
            list(EnerfloHook().get_records("/api/v3/installs", per_page=25))
    finally:
        company.api.faults = Faults()


def test_the_crms_own_database_is_opened_by_its_connection(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sync_config()
    account = config.account("default")
    monkeypatch.setattr(account, "__dict__", {**account.__dict__, "crm": CrmDatabase()})
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DEFAULT", warehouse_connection(connected.warehouse_url))
    crm = CrmConnections(lambda: crm_engine_of(config, "default"))
    with crm.connected("looking") as connection:
        assert connection.scalar(sa.text("select count(*) from crm.installs"))
    assert crm.dialect.title == "PostgreSQL"
    crm.close()
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DEFAULT", json.dumps({"conn_type": "enerflo", "host": "x"}))
    with pytest.raises(ConfigurationError, match=r"crm_default.*no database"):
        crm_engine_of(config, "default")
    monkeypatch.delenv("AIRFLOW_CONN_CRM_DEFAULT")
    with pytest.raises(ConfigurationError, match=r"crm_default.*not defined"):
        crm_engine_of(config, "default")


@pytest.mark.parametrize("place", ["schema", "host"])
def test_a_crm_in_duckdb_is_opened_without_a_provider(
    connected: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """Of MySQL's provider a machine needs a C library: a type that is known is opened by its driver alone."""
    config = sync_config()
    account = config.account("default")
    monkeypatch.setattr(account, "__dict__", {**account.__dict__, "crm": CrmDatabase()})
    named = {"conn_type": "duckdb", place: str(tmp_path / "shop.duckdb")}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DEFAULT", json.dumps(named))
    with pytest.raises(ConfigurationError, match=r"there is no file .*shop\.duckdb"):
        CrmConnections(lambda: crm_engine_of(config, "default")).connected("looking").__enter__()
    crm_engine_of(config, "default").connect().close()
    with CrmConnections(lambda: crm_engine_of(config, "default")).connected("looking") as connection:
        assert connection.scalar(sa.text("select current_database()")) == "shop"


def test_a_crm_in_mysql_is_opened_without_a_provider_and_an_unknown_type_is_said(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sync_config()
    account = config.account("default")
    monkeypatch.setattr(account, "__dict__", {**account.__dict__, "crm": CrmDatabase()})
    named = {"conn_type": "mysql", "host": "db.example", "port": 3307, "schema": "crm", "login": "sync"}
    extra = {"charset": "utf8mb4"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DEFAULT", json.dumps({**named, "password": "a/b@c", "extra": extra}))
    url = crm_engine_of(config, "default").url
    assert (url.drivername, url.host, url.port, url.database) == ("mysql+pymysql", "db.example", 3307, "crm")
    assert (url.username, url.password, dict(url.query)) == ("sync", "a/b@c", extra)
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DEFAULT", json.dumps({"conn_type": "vertica", "host": "x"}))
    with pytest.raises(ConfigurationError, match=r"crm_default.*no provider of the type vertica"):
        crm_engine_of(config, "default")
