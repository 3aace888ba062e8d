"""Two accounts whose drops lie beside each other, and whose archive is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.prune import run_prune
from tests.retention.conftest import Later
from tests.writes.conftest import Desk

OLD = timedelta(days=60)
BROKEN = b'{"webhook_event": "update_install", "id": ' + b"x" * 70_000


@pytest.fixture
def west(agreed: Desk) -> Iterator[AccountContext]:
    """Another company in the warehouse of the desk's."""
    drops = agreed.folder / "drops"
    for name in ("east", "west"):
        (drops / name).mkdir(parents=True)
    agreed.environ["WEBHOOK_DROP_URI"] = str(drops / "east")
    account = f"accounts:\n  west: {{webhook_drop_uri: {drops / 'west'}, mode: report}}\n"
    bound = ("retention:", "retention:\n  archive_days: 30")
    agreed.configured(("accounts:\n", account), ("# archive_days", "# archive"), bound)
    address = agreed.engine.url.render_as_string(hide_password=False)
    world = World(12, seed=5, clock=SystemClock(), per_cause=0)
    with SandboxServer(SandboxApi(world, rate_limit=10_000)) as server:
        context = AccountContext(
            "west",
            agreed.context.config,
            agreed.context.config_path,
            Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: address),
        )
        run_poll(context)
        yield context
        context.close()


def dropped(desk: Desk, name: str, content: Any) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (Path(desk.environ["WEBHOOK_DROP_URI"]) / name).write_bytes(data)
    run_ingest(desk.context)


def archived(desk: Desk) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (desk.folder / "drops" / "archive").rglob("*.json")}


@pytest.mark.parametrize("way", ["prune", "ingest"])
def test_no_account_deletes_the_file_of_anothers_open_item(
    agreed: Desk, west: AccountContext, way: str
) -> None:
    dropped(agreed, "broken.json", BROKEN)
    dropped(agreed, "fine.json", {"webhook_event": "update_install", "id": agreed.a_site().install_id})
    assert archived(agreed).keys() == {"broken.json", "fine.json"}
    west.clock = Later(OLD)
    if way == "prune":
        run_prune(west)
    else:
        run_ingest(west)
    assert archived(agreed).keys() == {"broken.json"}


def test_nobody_is_forgotten_in_the_files_of_another_account(agreed: Desk, west: AccountContext) -> None:
    """The numbers of two companies' customers may be the same."""
    customer = agreed.one("select max(customer_id) from enerflo.customers where account = 'west'")
    body = {"webhook_event": "update_customer", "id": customer, "customer": {"first_name": "Somebody"}}
    dropped(agreed, "east.json", body)
    before = archived(agreed)
    run_forget(west, customer, by="Pat", write=True)
    assert archived(agreed) == before
    # Its own are erased.
    (agreed.folder / "drops" / "west" / "west.json").write_text(json.dumps(body))
    run_ingest(west)
    assert b"Somebody" not in archived(agreed)["west.json"]
    assert archived(agreed)["east.json"] == before["east.json"]


def test_a_restore_reads_no_archive_in_which_others_have_files(agreed: Desk, west: AccountContext) -> None:
    dropped(agreed, "east.json", {"webhook_event": "update_install", "id": agreed.a_site().install_id})
    with pytest.raises(ConfigurationError, match="its archive is that of account default, too"):
        run_ingest(west, archive_since=date(2026, 1, 1))
    assert agreed.one("select count(*) from sync.webhook_events where account = 'west'") == 0
    place = agreed.folder / "drops" / "old" / "west"
    place.mkdir(parents=True)
    own = west.config.accounts["west"].model_copy(update={"webhook_archive_uri": str(place)})
    west.__dict__["settings"] = west.config.accounts["west"] = own
    assert run_ingest(west, archive_since=date(2026, 1, 1)).read == 0


def test_an_ingest_takes_no_files_of_another_account(agreed: Desk, west: AccountContext) -> None:
    nested = agreed.folder / "drops" / "east" / "west"
    nested.mkdir()
    (nested / "a.json").write_text('{"webhook_event": "update_install", "id": 1}')
    other = west.config.accounts["west"].model_copy(update={"webhook_drop_uri": str(nested)})
    agreed.context.config.accounts["west"] = other
    with pytest.raises(ConfigurationError, match="drop of account west lies in the drop of account default"):
        run_ingest(agreed.context)
    assert (nested / "a.json").exists()
