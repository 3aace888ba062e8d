"""The warehouse behind Debian's PgBouncer: session mode works whole, the other modes are refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse import pooler
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_engine, warehouse_errors
from enerflo_sync.warehouse.pooler import settings_of
from enerflo_sync.warehouse.revision import require_migrated
from tests.pgbouncer import bouncers

Pooled = Callable[..., str]
REFUSED = r"gives this session to another client after each transaction.*Set pool_mode = session"


@pytest.fixture
def pooled(warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pooled]:
    """Start a PgBouncer before the test's warehouse, and return the warehouse's address behind it."""
    monkeypatch.setattr(pooler, "_apart", set())
    with bouncers() as start:
        yield partial(start, warehouse_url)


@pytest.fixture
def engine_on() -> Iterator[Callable[[str], sa.Engine]]:
    engines: list[sa.Engine] = []

    def make(url: str) -> sa.Engine:
        engines.append(warehouse_engine(url))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize(
    "settings", [(), ("ignore_startup_parameters = options",)], ids=["refuses", "ignores"]
)
def test_a_pooler_that_shares_sessions_is_refused_by_the_first_job(
    pooled: Pooled, engine_on: Callable[[str], sa.Engine], mode: str, settings: tuple[str, ...]
) -> None:
    engine = engine_on(pooled(mode, *settings))
    with pytest.raises(ConfigurationError, match=REFUSED) as refused:
        require_migrated(engine)
    assert "docs/databases.md" in str(refused.value)
    assert str(refused.value).count("\n") == 0


def test_nothing_is_set_in_sessions_that_other_programs_get(
    pooled: Pooled, engine_on: Callable[[str], sa.Engine]
) -> None:
    url = pooled("transaction", "ignore_startup_parameters = options")
    for _ in range(3):
        with pytest.raises(ConfigurationError), engine_on(url).connect():
            pass
    with psycopg.connect(url, autocommit=True) as other:
        shown = other.execute("select current_setting('jit'), current_setting('lock_timeout')").fetchone()
    assert shown == ("on", "0")


def test_a_busy_pool_is_found_out_too(pooled: Pooled, engine_on: Callable[[str], sa.Engine]) -> None:
    """Other clients take sessions of the pool while it is looked at."""
    url = pooled("transaction")
    others = [psycopg.connect(url) for _ in range(4)]
    try:
        for other in others[:2]:
            other.execute("select 1")
        for other in others[2:]:
            other.execute("select 1")
            other.commit()
        with pytest.raises(ConfigurationError, match="connection pooler"):
            require_migrated(engine_on(url))
    finally:
        for other in others:
            other.close()


@pytest.mark.parametrize(
    "settings", [(), ("ignore_startup_parameters = options",)], ids=["refuses", "ignores"]
)
def test_a_pooler_in_session_mode_keeps_settings_and_locks(
    pooled: Pooled, engine_on: Callable[[str], sa.Engine], settings: tuple[str, ...]
) -> None:
    engine = engine_on(pooled("session", *settings))
    names = ("jit", "random_page_cost", "timezone", "client_min_messages", "lock_timeout")
    shown = ", ".join(f"current_setting('{name}')" for name in names)
    for _ in range(2):
        with warehouse_errors("apply"), engine.connect() as connection:
            found = tuple(connection.exec_driver_sql(f"select {shown}").one())
            assert found == ("off", "1.1", "UTC", "warning", "5s")
    with engine.connect() as one, engine.connect() as other, alone(one, "default"):
        one.exec_driver_sql("select 1")
        one.commit()
        query = "select count(*) from pg_locks where locktype = 'advisory' and granted"
        assert other.exec_driver_sql(query).scalar() == 1


def test_options_of_the_address_stand_behind_a_pooler(
    pooled: Pooled, engine_on: Callable[[str], sa.Engine]
) -> None:
    url = sa.make_url(pooled("session")).update_query_dict(
        {"options": r"-c lock_timeout=7s -c application_name=our\ own --work-mem=5MB"}
    )
    with engine_on(url.render_as_string(hide_password=False)).connect() as connection:
        names = ("lock_timeout", "application_name", "work_mem", "jit")
        shown = ", ".join(f"current_setting('{name}')" for name in names)
        found = tuple(connection.exec_driver_sql(f"select {shown}").one())
    assert found == ("7s", "our own", "5MB", "off")


def test_a_server_without_a_pooler_is_asked_nothing_more(
    warehouse_url: str, engine_on: Callable[[str], sa.Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler, "_settle", lambda *_: pytest.fail("taken for a pooler"))
    with engine_on(warehouse_url).connect() as connection:
        assert connection.exec_driver_sql("show jit").scalar() == "off"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", []),
        ("-c jit=off -c a.b=1", [("jit", "off"), ("a.b", "1")]),
        (r"-cx=a\ b\\ --some-name=2", [("x", "a b\\"), ("some_name", "2")]),
    ],
)
def test_start_up_options_are_read_as_the_server_reads_them(
    text: str, settings: list[tuple[str, str]]
) -> None:
    assert settings_of(text) == settings
