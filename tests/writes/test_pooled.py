"""Whole rounds of work behind PgBouncer in session mode, and none behind one that shares sessions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.warehouse import pooler
from tests.pgbouncer import bouncers
from tests.writes.conftest import Desk


def behind(desk: Desk, url: str) -> None:
    """Let the jobs of a desk use the warehouse by another address; the desk itself looks as before."""
    direct = desk.engine
    desk.context.credentials = dataclasses.replace(desk.context.credentials, warehouse_url=lambda: url)
    desk.context.__dict__.pop("engine")
    assert desk.context.engine is not direct
    direct.dispose()


def test_every_job_works_behind_a_pooler_in_session_mode(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler, "_apart", set())
    with bouncers() as start:
        behind(agreed, start(agreed.engine.url.render_as_string(hide_password=False), "session"))
        install = agreed.world.installs.get(agreed.a_site().number)
        agreed.sql("update crm.installs set panel_count = 99, updated_at = now()")
        agreed.sql(
            "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
            i=install.install_id,
        )
        assert run_ingest(agreed.context).state == "ok"
        for _ in range(2):
            run_poll(agreed.context)
            for plan in run_plan(agreed.context):
                assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").waiting == 0
        agreed.settled()
        assert agreed.world.received != []
        run_rebuild(agreed.context)
        assert run_reconcile(agreed.context).tables
        agreed.context.close()


@pytest.mark.parametrize("job", [run_poll, run_plan, run_reconcile, run_ingest])
def test_no_job_begins_behind_a_pooler_in_transaction_mode(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, job: Callable[..., object]
) -> None:
    monkeypatch.setattr(pooler, "_apart", set())
    runs = desk.one("select count(*) from sync.runs")
    requests = desk.api.requests.total() if desk.api else 0
    with bouncers() as start:
        direct = desk.engine.url.render_as_string(hide_password=False)
        behind(desk, start(direct, "transaction"))
        with pytest.raises(ConfigurationError, match="connection pooler"):
            job(desk.context)
        behind_context = desk.context.engine
        behind_context.dispose()
        desk.context.credentials = dataclasses.replace(desk.context.credentials, warehouse_url=lambda: direct)
        desk.context.__dict__.pop("engine")
        assert desk.one("select count(*) from sync.runs") == runs
        assert desk.api is None or desk.api.requests.total() == requests
