"""``--group``: a command for every account of a group, where one that fails stops no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from enerflo_sync.cli.groups import finish_each
from enerflo_sync.cli.output import Exit
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.revision import LATEST_REVISION
from tests.cli.conftest import SHIPPED, Run

ONE = """\
  {name}:
    group: {group}
    base_url: ${{ENERFLO_BASE_URL}}
    api_key: ${{{key}}}
    warehouse_url: ${{WAREHOUSE_URL}}
"""


@pytest.fixture
def grouped(
    run: Run, world: World, warehouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Three accounts of the group ``coast``, of which the second has no key, and one of another group."""
    make_crm_tables(world, warehouse_url)
    _, _, shared = SHIPPED.read_text().partition("\npoll:\n")
    named = {"a": "ENERFLO_API_KEY", "broken": "NO_KEY", "c": "ENERFLO_API_KEY"}
    accounts = "".join(ONE.format(name=name, group="coast", key=key) for name, key in named.items())
    accounts += ONE.format(name="d", group="plain", key="NO_KEY")
    config = tmp_path / "sync.yaml"
    config.write_text(f"version: 1\naccounts:\n{accounts}\npoll:\n{shared}")
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    return run


def documents(text: str) -> list[Any]:
    """Return the JSON documents that stand one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:]
    return found


def test_an_account_that_fails_stops_no_other_and_the_exit_code_tells(grouped: Run) -> None:
    polled = grouped("poll", "--group", "coast")
    assert polled.code == 2
    assert [line for line in polled.out.splitlines() if line.startswith("account ")] == [
        "account a",
        "account broken",
        "account c",
    ]
    # Of its sixty installs one cannot be used, and is put aside.
    assert polled.out.count("read        60") == 2
    assert "accounts.broken.api_key: the environment variable NO_KEY is not set." in polled.err
    assert "1 of 3 accounts failed: broken" in polled.err

    # These two need no key.
    reconciled = grouped("reconcile", "--group", "coast", "--json")
    assert [one["account"] for one in documents(reconciled.out)] == ["a", "broken", "c"]
    planned = grouped("plan", "--group", "coast", "--json")
    assert [one["account"] for one in documents(planned.out)] == ["a", "broken", "c"]
    assert planned.code == 1


def test_json_has_a_document_for_the_account_that_failed_too(grouped: Run) -> None:
    polled = grouped("poll", "--group", "coast", "--json")
    one, failed, other = documents(polled.out)
    assert (one["account"], one["resources"]["installs"]["read"]) == ("a", 60)
    assert (other["account"], other["resources"]["installs"]["read"]) == ("c", 60)
    assert failed["account"] == "broken"
    assert "NO_KEY is not set" in failed["error"]


def test_the_accounts_of_a_group_are_migrated_one_after_the_other(
    grouped: Run, monkeypatch: pytest.MonkeyPatch, empty_warehouse_url: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", empty_warehouse_url)
    migrated = grouped("migrate", "--group", "coast", "--json")
    assert migrated.code == 0
    found = [(one["account"], one["before"], one["changed"]) for one in documents(migrated.out)]
    assert found == [("a", None, True), ("broken", LATEST_REVISION, False), ("c", LATEST_REVISION, False)]
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://nobody@127.0.0.1:9/none")
    down = grouped("migrate", "--group", "coast")
    assert down.code == 2
    assert "3 of 3 accounts failed: a, broken, c" in down.err


def test_an_error_that_is_none_of_ours_stops_no_other_and_shows_no_text(
    grouped: Run, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    seen = []

    def work(context: AccountContext) -> Exit:
        seen.append(context.account)
        if context.account == "a":
            raise ValueError("a row of a customer")
        return Exit.DONE

    with pytest.raises(typer.Exit) as ended:
        finish_each("default", "coast", work)
    assert ended.value.exit_code == 2
    assert seen == ["a", "broken", "c"]
    told = capfdbinary.readouterr().err.decode()
    assert "an unexpected ValueError" in told
    assert "customer" not in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("poll", "--group", "cost"), "no account is of the group cost. Choose one of coast, plain"),
        (("poll", "--group", "coast", "--account", "a"), "an account and a group are named. Choose one"),
        (("plan", "--group", "coast", "--format", "html"), "--format html is about one account"),
        (("reconcile", "--group", "coast", "--out", "x.txt"), "--out is about one account"),
        (("reconcile", "--group", "coast", "--format", "csv"), "--format csv is about one account"),
    ],
)
def test_what_a_group_cannot_do_is_refused(grouped: Run, words: tuple[str, ...], expected: str) -> None:
    ended = grouped(*words)
    assert ended.code == 2
    assert expected in " ".join(ended.err.split())
    assert ended.out == ""
