"""``enerflo-sync doctor`` says what accounts share of the places of their webhook files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SHIPPED, Run


def checked(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, west: str) -> tuple[int, list[Any]]:
    """Return the exit code and the check of drops of the account ``default``, which drops into ``drops/in``."""
    text = SHIPPED.read_text().replace("accounts:\n", f"accounts:\n  west: {{{west}}}\n", 1)
    (folder / "sync.yaml").write_text(text)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(folder / "sync.yaml"))
    monkeypatch.setenv("WEBHOOK_DROP_URI", "/drops/in")
    run("migrate")
    result = run("doctor", "--json")
    return result.code, [one for one in result.json["checks"] if one["name"] == "webhooks"]


def test_an_archive_that_accounts_share_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (check,) = checked(run, tmp_path, monkeypatch, "webhook_drop_uri: /drops/west")
    (found,) = check["findings"]
    assert (found["severity"], found["what"]) == ("warning", "accounts.default.webhook_archive_uri")
    assert (found["found"], found["expected"]) == ("the archive of account west", "an archive of its own")


def test_a_drop_that_accounts_share_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, (check,) = checked(run, tmp_path, monkeypatch, "webhook_drop_uri: /drops/in")
    assert (code, check["ok"]) == (2, False)
    assert "accounts west and default have the same drop" in check["detail"]


def test_places_of_ones_own_are_not_mentioned(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "webhook_drop_uri: /drops/west, webhook_archive_uri: /old/west"
    assert checked(run, tmp_path, monkeypatch, own)[1] == []
