"""Real Airflow runs that fail on rows of customers: no word of a row stands in any log, note or run record."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.server import SandboxServer
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_environment import DAGS, HOME
from tests.airflow_fixtures import Setting
from tests.dags.test_sync_runs import NEVER_ASKED, UNASKED, rows, switched

__all__ = ["switched"]

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

# It fails with the whole row in the message, the detail, the hint and the context, in a class of errors that
# speaks of names and not of rows, so that the job itself fails.
_FAILING = """
create function public.tell() returns trigger language plpgsql as $$ begin
  raise warning 'who is %%?', new;
  {fails}
end $$;
create trigger tell before insert or update on {table} for each row execute function public.tell();
"""
_NOWHERE = "execute format('select 1 from %%I', new::text); return new;"
_RAISED = "raise exception 'no %%', new using errcode = '{state}', detail = new::text, hint = new::text; return new;"


def plant(setting: Setting, table: str, fails: str) -> None:
    engine = warehouse_engine(setting.warehouse_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(_FAILING.format(table=table, fails=fails))
    engine.dispose()


def canaries(company: SandboxServer) -> Iterator[str]:
    """What the company knows of people, and nobody may read in a log."""
    truth = company.api.world.truth
    for customer in truth.customers():
        yield f"{customer.first_name} {customer.last_name}"
        yield from (value for value in (customer.email, customer.mobile, customer.address) if value)
    yield from (f"{install.customer_name}" for install in truth.installs())
    yield from (note.body for note in truth.notes() if len(note.body) > 12)


# The shipped file, but for the retries, for each of which a run waits some minutes.
_ONE_TRY = """
import runpy
from enerflo_airflow import defaults
shipped = defaults.task_defaults
defaults.task_defaults = lambda settings: {{**shipped(settings), "retries": 0}}
# An airflow dag file.
globals().update(runpy.run_path({path!r}))
"""


def tried_once(folder: Path, file: str) -> dict[str, str]:
    """Make a folder with one DAG file whose tasks are tried once; return what shows it to Airflow."""
    folder.mkdir()
    (folder / file).write_text(_ONE_TRY.format(path=str((DAGS / file).absolute())))
    return {"AIRFLOW__CORE__DAGS_FOLDER": str(folder)}


def airflow_run(dag_id: str, **settings: str) -> str:
    """Run a DAG by Airflow's own command, as a process; return what it printed and all that it wrote to logs."""
    environment = (
        os.environ
        | settings
        | {
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            # The code of this checkout, whichever one the environment was made of.
            "PYTHONPATH": os.pathsep.join(str(Path(part).absolute()) for part in ("include", "plugins", ".")),
        }
    )
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", dag_id],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    folder = HOME / "logs"
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    written = "\n".join(path.read_text(errors="replace") for path in files)
    return f"{done.stdout}\n{done.stderr}\n{written}"


def assert_no_row(setting: Setting, company: SandboxServer, logs: str, *, failed: bool = True) -> None:
    assert "SQLSTATE" in logs or not failed
    kept = "\n".join(str(one) for (one,) in rows(setting, "select t::text from sync.runs t"))
    found = [text for text in set(canaries(company)) if text in logs or text in kept]
    assert found == []


@pytest.mark.parametrize(
    "fails",
    [_NOWHERE, _RAISED.format(state="42501"), _RAISED.format(state="P0001")],
    ids=["inner", "right", "row"],
)
def test_a_failing_trigger_of_a_mirror_table(connected: Setting, company: SandboxServer, fails: str) -> None:
    plant(connected, "enerflo.installs", fails)
    logs = airflow_run("enerflo_poll")
    assert_no_row(connected, company, logs, failed=fails == _NOWHERE)
    assert len(set(canaries(company))) > 50


@pytest.mark.timeout(400)
def test_a_failing_trigger_of_a_crm_table(
    connected: Setting, company: SandboxServer, switched: Any, tmp_path: Path
) -> None:
    """The rules let the plan through, so that the run writes and fails instead of waiting for a person."""
    from enerflo_airflow.hook import open_account

    switched(("mode: report", "mode: crm"), (NEVER_ASKED, UNASKED))
    tables = rows(
        connected,
        "select format('%I.%I', table_schema, table_name) from information_schema.tables"
        " where table_schema not in ('sync', 'enerflo', 'pg_catalog', 'information_schema')"
        " and table_type = 'BASE TABLE'",
    )
    with closing(open_account("default", reads_enerflo=True)) as place:
        run_poll(place)
    for number, (table,) in enumerate(tables):
        plant(connected, table, _NOWHERE) if number == 0 else _plant_also(connected, table)
    logs = airflow_run("enerflo_sync", **tried_once(tmp_path / "dags", "enerflo_sync_dag.py"))
    assert "apply_plan" in logs
    assert_no_row(connected, company, logs)
    (states,) = rows(
        connected, "select array_agg(state::text order by state) from sync.runs where job = 'apply'"
    )
    assert states == (["failed"],)


def _plant_also(setting: Setting, table: str) -> None:
    engine = warehouse_engine(setting.warehouse_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                f"create trigger tell before insert or update on {table}"
                " for each row execute function public.tell()"
            )
        )
    engine.dispose()
