"""A company with something on every page, and browsers of people with different roles."""

from __future__ import annotations

from tests import airflow_environment  # isort: skip
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg
import pytest
import sqlalchemy as sa
from airflow.api_fastapi.app import create_app
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from playwright.sync_api import Browser, sync_playwright

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_fixtures import metadata, warehouse_connection
from tests.conftest import copy_database, fresh_database
from tests.pages.company import PageCompany, page_company
from tests.pages.known_dags import forget_runs
from tests.pages.served import served_pages, token_of

__all__ = ["airflow_environment", "metadata"]


@pytest.fixture(scope="session")
def airflow_app(metadata: None) -> FastAPI:
    return create_app(apps="core")


@pytest.fixture(scope="session")
def told_company(
    postgres_url: str, metadata: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageCompany]:
    """The company, as long as tests run; its warehouse ``told`` is copied for each of them."""
    told = copy_database(postgres_url, "told_pages", "migrated")
    with page_company(told, tmp_path_factory.mktemp("pages"), installs=120) as company:
        # Great Expectations leaves a connection open, and a database in use cannot be copied.
        with closing(psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True)) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'told_pages'"
            )
        yield company


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, which opens a context of its own for each test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def airflow_home(told_company: PageCompany) -> Iterator[str]:
    """The address of Airflow's API server, whose pages show the warehouse that the environment names by then."""
    with served_pages() as found:
        yield found


@dataclass
class Visitor:
    """A person in front of the pages."""

    client: TestClient
    engine: sa.Engine

    def get(self, path: str) -> Response:
        return self.client.get(f"/enerflo/{path}")

    def text(self, path: str) -> str:
        """Return a page that is there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def token(self, page: str) -> str:
        """Return what the forms of a page carry."""
        found = re.search(r'name="token" value="([^"]+)"', self.text(page))
        assert found, f"{page} has no form that acts"
        return found[1]

    def post(self, path: str, page: str, **fields: str) -> Response:
        """Send a form of a page, and return the answer: a way back to a page, or a page in words."""
        return self.client.post(f"/enerflo/{path}", data={"token": self.token(page), **fields})

    def statements(self, path: str) -> list[tuple[str, object]]:
        """Return what a page asks of the warehouse, besides how a session begins: statements with their values."""
        asked: list[tuple[str, object]] = []

        def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
            asked.append((statement, values))

        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            self.get(path)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        return [
            one for one in asked if "enerflo-sync" in one[0] or "sync." in one[0] or "pg_catalog" in one[0]
        ]

    def sql(self, statement: str, **values: object) -> list[sa.RowMapping]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.mappings()) if result.returns_rows else []


@pytest.fixture
def visitor(
    airflow_app: FastAPI, told_company: PageCompany, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Visitor]]:
    """Returns a visitor of a role (VIEWER, USER, OP, ADMIN) to the company's pages, on a warehouse of its own."""
    with fresh_database(postgres_url, "told_pages") as address:
        for name, value in told_company.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(address))
        engine = warehouse_engine(address)
        forget_runs()
        with closing(
            TestClient(airflow_app, base_url="http://localhost:8080", follow_redirects=False)
        ) as client:

            def visit(role: str = "ADMIN", name: str = "pat") -> Visitor:
                client.cookies.set("_token", token_of(role, name))
                return Visitor(client, engine)

            yield visit
        engine.dispose()
