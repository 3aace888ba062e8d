"""How long Airflow takes to parse our DAG files for many accounts: ``python -m benchmarks.parsing 200``.

Prints seconds of CPU; each line is what one process of the DAG processor, or of a task, does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = """\
api_key: ${{KEY_{number}}}
webhook_drop_uri: s3://drops/a{number}
airflow: {{enerflo_connection: enerflo_a{number}, warehouse_connection: warehouse}}
schedule: {{poll: "{minute} * * * *"}}
"""


def write_accounts(folder: Path, count: int) -> Path:
    """Write a configuration of so many accounts, each in a file of its own, and a route to people."""
    shipped = (ROOT / "include" / "config" / "sync.yaml").read_text()
    _, _, shared = shipped.partition("\npoll:\n")
    routes = "  routes:\n    all: {level: warning, email: {to: [ops@example.com]}}\n"
    config = folder / "sync.yaml"
    config.write_text(f"version: 1\npoll:\n{shared.replace('  routes: {}' + chr(10), routes, 1)}")
    (folder / "accounts").mkdir()
    for number in range(count):
        text = ACCOUNT.format(number=number, minute=number % 60)
        (folder / "accounts" / f"a{number}.yaml").write_text(text)
    return config


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how many seconds of CPU the block took."""
    began = time.process_time()
    yield
    print(f"{time.process_time() - began:8.3f} s  {what}")


def main() -> None:
    """Measure, for as many accounts as the command line says."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_accounts(folder, count)
        os.environ |= {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "ENERFLO_SYNC_CONFIG": str(config),
        }
        with timed("imports of Airflow and of ours"):
            from airflow.dag_processing.dagbag import DagBag
            from airflow.serialization.serialized_objects import DagSerialization

            from enerflo_sync.crm.load import load_config

            for module in ("backfill", "planning", "notifying"):
                import_module(f"enerflo_airflow.{module}")
        with timed(f"the configuration of {count} accounts"):
            load_config(config, os.environ)
        bags = []
        began = time.process_time()
        for file in sorted((ROOT / "dags").glob("*.py")):
            with timed(f"DAGs of {file.name}"):
                bags.append(DagBag(dag_folder=str(file)))
        dags = [dag for bag in bags for dag in bag.dags.values()]
        tasks = sum(len(dag.tasks) for dag in dags)
        print(f"{time.process_time() - began:8.3f} s  all {len(dags)} DAGs, {tasks} tasks")
        assert not any(bag.import_errors for bag in bags)
        with timed("their serialization"):
            for dag in dags:
                DagSerialization.to_dict(dag)
        os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "enerflo_backfill__a0"
        with timed("DAGs of enerflo_backfill.py for one task"):
            bag = DagBag(dag_folder=str(ROOT / "dags" / "enerflo_backfill.py"))
        assert set(bag.dags) == {"enerflo_backfill__a0"}


if __name__ == "__main__":
    main()
