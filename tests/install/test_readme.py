"""Section 3 of the README, to the letter: a new environment, the built wheel, an Airflow home, every DAG once.

Nothing of this checkout can be imported there, and every block of code is run as it stands.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from tests.airflow_fixtures import enerflo_connection, warehouse_connection
from tests.install.place import ROOT, SOURCES, Place, place_with_sources, uv, wanted_packages

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]


def section() -> str:
    text = (ROOT / "README.md").read_text()
    return text.split("### 3. In your Airflow")[1].split("\n## ")[0]


def blocks(language: str) -> list[str]:
    """Return the section's blocks of code, without the blanks by which a list holds them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)\n *```$", section(), re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


@pytest.fixture(scope="module")
def served() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxApi(World(30, seed=7, clock=SystemClock(), per_cause=0))) as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, served: SandboxServer) -> Place:
    """A copy of the sources beside an Airflow environment, in which the wheel is not installed yet."""
    found = place_with_sources(tmp_path_factory.mktemp("install"))
    home = found.folder / "airflow"
    home.mkdir()
    found.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }
    )
    packages = wanted_packages(found, "airflow", "quality")
    found.sh(f"{uv()} pip install --quiet --python venv/bin/python -r {packages}")
    return found


@pytest.fixture(scope="module")
def warehouse(postgres_url: str, served: SandboxServer) -> Iterator[str]:
    """A database with the CRM's tables, and nothing of ours."""
    from tests.conftest import fresh_database

    with fresh_database(postgres_url, "template0") as address:
        make_crm_tables(served.api.world, address)
        yield address


def test_section_3_of_the_readme(place: Place, served: SandboxServer, warehouse: str) -> None:
    install, init, tables = blocks("sh")
    [dag_file] = blocks("python")
    home = Path(place.environ["AIRFLOW_HOME"])
    with_credentials = {
        "WAREHOUSE_URL": warehouse,
        "ENERFLO_BASE_URL": served.url,
        "ENERFLO_API_KEY": DEFAULT_KEY,
        "AIRFLOW_CONN_ENERFLO_DEFAULT": enerflo_connection(served.url),
        "AIRFLOW_CONN_ENERFLO_WAREHOUSE": warehouse_connection(warehouse),
        "WEBHOOK_DROP_URI": str(home / "drop"),
    }

    # 1. The wheel, and what it brings along.
    place.sh(install)
    for name in SOURCES:
        remove = shutil.rmtree if (place.folder / name).is_dir() else Path.unlink
        remove(place.folder / name)
    lies_in = place.sh("python -c 'import enerflo_sync, enerflo_airflow; print(enerflo_sync.__path__[0])'")
    assert lies_in.startswith(str(place.folder / "venv"))
    # Production has no simulated company.
    assert "sandbox" not in place.sh("enerflo-sync --help")
    asked = "enerflo-sync sandbox serve 2>&1 || test $? = 2"
    assert 'Install it with "enerflo-sync[sandbox]".' in " ".join(place.sh(asked).split())

    # 2. and 3. The configuration and the DAG file.
    variable = place.sh(f"{init}\necho $ENERFLO_SYNC_CONFIG").splitlines()[-1]
    assert Path(variable).read_text().startswith("# yaml-language-server")
    (home / "dags").mkdir()
    (home / "dags" / "enerflo.py").write_text(dag_file)
    (home / "drop").mkdir()
    (home / "drop" / "one.json").write_text("{}")
    with_credentials["ENERFLO_SYNC_CONFIG"] = variable

    # 4. The warehouse.
    place.sh(tables, **with_credentials)
    engine = sa.create_engine(warehouse, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from sync.plans")) == 0

    # 5. to 7. Airflow knows the plugin and the connection type, and each DAG runs.
    place.sh("airflow db migrate", **with_credentials)
    assert "enerflo_reports" in place.sh("airflow plugins", **with_credentials)
    assert "enerflo_airflow.hook.EnerfloHook" in place.sh("airflow providers hooks", **with_credentials)
    (place.folder / "run_dags.py").write_text((Path(__file__).parent / "run_dags.py").read_text())
    runs = [
        ("enerflo_poll", {}),
        ("enerflo_webhooks", {}),
        ("enerflo_reconcile", {}),
        ("enerflo_change_orders", {}),
        ("enerflo_sync", {}),
        ("enerflo_replay", {"selection": "everything"}),
        ("enerflo_prune", {"dry_run": True}),
        ("enerflo_backfill", {"choice": "ids", "ids": "1", "estimate_only": True}),
    ]
    said = place.sh(
        f"python run_dags.py {home / 'dags'} '{json.dumps(runs)}' 2> run_dags.log || {{ tail -50 run_dags.log; exit 2; }}",
        **with_credentials,
    )
    # Airflow 3.4 goes on talking while its process ends.
    (result,) = [json.loads(line) for line in said.splitlines() if line.startswith('{"known"')]
    # Without a plan that waits for a person there is nothing to ask for.
    assert {dag_id for dag_id, _ in runs} | {"enerflo_approve"} == set(result["known"])
    assert result["states"] == {dag_id: "success" for dag_id, _ in runs}
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from enerflo.installs")) == 30
        assert connection.scalar(sa.text("select count(*) from sync.reconciliations")) > 0
        assert connection.scalar(sa.text("select count(*) from sync.plans")) == 1
