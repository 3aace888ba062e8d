"""An account whose own file holds a mistake: the commands of the others work, and say so where they should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from tests.cli.conftest import SHIPPED, Run
from tests.cli.test_groups import ONE, documents


@pytest.fixture
def beside_a_mistake(
    run: Run, world: World, warehouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """The account ``a`` of the group ``coast``, beside the account ``west`` with a slip in its file."""
    make_crm_tables(world, warehouse_url)
    _, _, shared = SHIPPED.read_text().partition("\npoll:\n")
    account = ONE.format(name="a", group="coast", key="ENERFLO_API_KEY")
    config = tmp_path / "sync.yaml"
    config.write_text(f"version: 1\naccounts:\n{account}\npoll:\n{shared}")
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "west.yaml").write_text("group: plain\nmod: both\n")
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    return run


def test_the_commands_of_another_account_work_and_its_own_name_file_line_and_remedy(
    beside_a_mistake: Run, tmp_path: Path
) -> None:
    # One record of the sixty cannot be used, and is in quarantine.
    assert "read        60" in beside_a_mistake("poll", "--account", "a").out
    assert beside_a_mistake("reconcile", "--account", "a").code in (0, 1)
    for command in ("poll", "reconcile", "plan", "doctor"):
        refused = beside_a_mistake(command, "--account", "west")
        assert refused.code == 2
        assert (
            f"{tmp_path}/accounts/west.yaml:2: accounts.west.mod: found the unknown option mod" in refused.err
        )
        assert "did you mean mode?" in refused.err
        assert "Correct west.yaml and run it again." in refused.err


def test_the_doctor_of_another_account_warns_and_says_what_it_did_not_check(beside_a_mistake: Run) -> None:
    beside_a_mistake("poll", "--account", "a")
    looked = beside_a_mistake("doctor", "--account", "a", "--json")
    assert looked.code == 1
    (check,) = [one for one in json.loads(looked.out)["checks"] if one["name"] == "accounts"]
    assert (check["ok"], check["detail"]) == (False, "the configuration of west cannot be read")
    (found,) = check["findings"]
    assert (found["severity"], found["line"], found["what"]) == ("warning", 2, "accounts.west.mod")
    assert found["file"].endswith("accounts/west.yaml")
    assert "whether it shares rows of a CRM table with account a is not known" in found["next_step"]


def test_no_run_of_a_group_ends_well_without_it(beside_a_mistake: Run) -> None:
    polled = beside_a_mistake("poll", "--group", "coast", "--json")
    assert polled.code == 2
    done, failed = documents(polled.out)
    assert (done["account"], failed["account"]) == ("a", "west")
    assert "west.yaml:2" in failed["error"]
    assert "1 of 2 accounts failed: west" in polled.err


def test_what_if_of_a_file_refuses_a_mistake_in_any_account(beside_a_mistake: Run, tmp_path: Path) -> None:
    """Whoever asks is about to roll it out, with all its accounts."""
    refused = beside_a_mistake("what-if", str(tmp_path / "sync.yaml"), "--account", "a")
    assert refused.code == 2
    assert "accounts.west.mod" in refused.err
