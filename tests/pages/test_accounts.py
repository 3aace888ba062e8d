"""The page of all accounts: the worst first, one query a warehouse, and nobody waits for one that is down."""

from __future__ import annotations

import html
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from enerflo_airflow import account_lines

from tests.airflow_environment import ROOT
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow

Accounts = Callable[..., None]
_COPY = """
insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope, config_hash,
  compared_until, differences, unexplained, report, summary)
select :account, :account || '-1', now(), now(), scope, config_hash, now(), differences, unexplained, report,
  summary || cast(:summary as jsonb) from sync.reconciliations where account = 'default' order by started_at desc limit 1
"""


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visitor: object) -> Accounts:
    """Names accounts in sync.yaml, each with the id of its warehouse's connection."""

    def name(**connections: str) -> None:
        shipped = (ROOT / "include" / "config" / "sync.yaml").read_text()
        lines = "".join(
            f"  {account}: {{airflow: {{warehouse_connection: {connection}}}}}\n"
            for account, connection in connections.items()
        )
        (tmp_path / "sync.yaml").write_text(shipped.replace("accounts:\n", f"accounts:\n{lines}", 1))
        monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(tmp_path / "sync.yaml"))
        account_lines._under_way.clear()

    return name


def listed(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><i class="tone \w+"></i><a href="/enerflo/overview/([^"]+)"', text)


def reconciled(pat: Visitor, account: str, summary: str) -> None:
    pat.sql(_COPY, account=account, summary=summary)


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that accepts and never answers."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def counted() -> Iterator[list[str]]:
    asked: list[str] = []

    def hear(*args: object) -> None:
        asked.append(str(args[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


def test_with_one_account_it_leads_to_that_ones_overview(visitor: Callable[..., Visitor]) -> None:
    answer = visitor("VIEWER").get("accounts")
    assert (answer.status_code, answer.headers["location"]) == (303, "/enerflo/overview/default")
    for other in ("", "reports"):
        found = visitor("VIEWER").get(other)
        assert (found.status_code, found.headers["location"]) == (308, "/enerflo/accounts")


def test_an_address_that_no_page_has_leads_to_the_accounts(visitor: Callable[..., Visitor]) -> None:
    answer = visitor("VIEWER").get("nowhere/at/all")
    assert answer.status_code == 404
    assert '<a href="/enerflo/accounts">Begin at the accounts</a>' in answer.text


def test_the_worst_stands_first_with_the_verdict_that_its_overview_has(
    visitor: Callable[..., Visitor], accounts: Accounts
) -> None:
    pat = visitor("VIEWER")
    accounts(agreed="enerflo_warehouse", doubt="enerflo_warehouse", fresh="enerflo_warehouse")
    reconciled(pat, "agreed", '{"tone": "good", "headline": "Both sides agree", "unexplained": 0}')
    reconciled(pat, "doubt", '{"tone": "unsure", "headline": "Enerflo was last read long ago"}')
    text = pat.text("accounts")
    assert listed(text) == ["default", "doubt", "fresh", "agreed"]
    for account in ("default", "doubt", "agreed"):
        (row,) = pat.sql(
            "select summary ->> 'headline' as said from sync.reconciliations where account = :account"
            " order by compared_until desc limit 1",
            account=account,
        )
        assert row["said"] in html.unescape(text)
        assert f"<h1>{row['said']}</h1>" in html.unescape(pat.text(f"overview/{account}"))
    assert "Nothing was compared yet" in text


def test_an_account_whose_warehouse_does_not_answer_fails_in_its_own_row_and_in_time(
    visitor: Callable[..., Visitor], accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    with silent_server() as port:
        monkeypatch.setenv("AIRFLOW_CONN_SILENT", f"postgresql://pat:secret-word@127.0.0.1:{port}/warehouse")
        monkeypatch.setattr(account_lines, "SECONDS", 0.4)
        accounts(down="silent", missing="no_such_connection")
        began = time.monotonic()
        text = html.unescape(pat.text("accounts"))
        assert time.monotonic() - began < 3
    assert listed(text)[2] == "default"
    assert set(listed(text)[:2]) == {"down", "missing"}
    assert "Its warehouse did not answer within 2 seconds" in text
    assert "the connection is not defined" in text
    assert "differences are unexplained" in text
    assert "secret-word" not in text


def test_two_hundred_accounts_take_one_query_and_fifty_stand_on_a_page(
    visitor: Callable[..., Visitor], accounts: Accounts
) -> None:
    pat = visitor("VIEWER")
    names = [f"area_{number:03}" for number in range(199)]
    accounts(**dict.fromkeys(names, "enerflo_warehouse"))
    pat.text("accounts")
    with counted() as asked:
        text = pat.text("accounts")
    assert len([one for one in asked if "sync." in one]) <= 2, asked
    assert len(listed(text)) == 50
    assert len(text.encode()) < 60_000
    seen: list[str] = []
    for page in range(1, 5):
        seen += listed(pat.text(f"accounts?page={page}"))
    assert sorted(seen) == sorted([*names, "default"])
    assert listed(pat.text("accounts?q=AREA_01")) == [f"area_{number:03}" for number in range(10, 20)]
    assert "No account's name contains this" in html.unescape(pat.text("accounts?q=%22%3Cscript%3E%25"))


@pytest.mark.parametrize("page", ["x", "0", "-1", "1.5", "9" * 10_000])
def test_a_page_that_is_none_is_said_so(
    visitor: Callable[..., Visitor], accounts: Accounts, page: str
) -> None:
    accounts(west="enerflo_warehouse")
    answer = visitor("VIEWER").get(f"accounts?page={page}")
    assert answer.status_code == 400
    assert "page is no number of a page" in answer.text


def test_a_verdict_of_a_version_that_stored_none_is_read_from_its_report(
    visitor: Callable[..., Visitor], accounts: Accounts
) -> None:
    pat = visitor("VIEWER")
    accounts(west="enerflo_warehouse")
    before = pat.text("accounts")
    pat.sql("update sync.reconciliations set summary = null")
    assert re.sub(r"<time.*?</time>", "", pat.text("accounts")) == re.sub(r"<time.*?</time>", "", before)


def test_the_card_on_airflows_home_has_the_same_verdicts_and_leads_into_airflows_frame(
    visitor: Callable[..., Visitor], accounts: Accounts
) -> None:
    pat = visitor("VIEWER")
    text = pat.text("card")
    assert "differences are unexplained" in text
    assert 'target="_top" href="/plugin/enerflo-reports/enerflo/overview/default"' in text
    script = pat.get("card.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert 'new URL("card", import.meta.url)' in script.text


def test_an_account_whose_file_has_a_mistake_stands_first_with_it_and_so_does_each_of_its_pages(
    visitor: Callable[..., Visitor], accounts: Accounts, tmp_path: Path
) -> None:
    """An account that nothing runs for must not look as if all were well, or as if there were none."""
    pat = visitor("VIEWER")
    accounts(fresh="enerflo_warehouse")
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "west.yaml").write_text("mode: report\nmod: both\n")
    text = html.unescape(pat.text("accounts"))
    assert listed(text) == ["west", "default", "fresh"]
    mistake = f"{tmp_path}/accounts/west.yaml:2: accounts.west.mod: found the unknown option mod"
    assert "Its configuration cannot be read, and none of its jobs runs: " in text
    assert mistake in text
    assert "its configuration cannot be read" in html.unescape(pat.text("card"))
    for path in ("overview/west", "freshness/west", "reports/west", "run?dag_id=enerflo_poll__west&run_id=r"):
        answer = pat.get(path)
        assert answer.status_code == 503
        assert "The configuration cannot be read" in answer.text
        assert mistake in html.unescape(answer.text)
    of_all = pat.get("run?dag_id=enerflo_accounts&run_id=r")
    assert (of_all.status_code, of_all.headers["location"]) == (303, "/enerflo/accounts")
    # The pages of the others are as before.
    assert pat.get("overview/default").status_code == 200
