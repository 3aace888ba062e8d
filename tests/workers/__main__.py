"""The story of the workers at its full length, with the DAGs as shipped and Airflow's own patience: ``make celery``."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.conftest import embedded_for_tests, fresh_database
from tests.workers.fleet import REDIS, ROOT, fleet
from tests.workers.story import Story, tell


def main() -> None:
    """Tell it once, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--installs", type=int, default=20_000)
    asked = parser.parse_args()
    if REDIS is None:
        raise SystemExit("There is no redis-server on this machine: apt-get install redis-server")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="enerflo-celery-") as folder,
        embedded_for_tests() as server,
        fresh_database(server, "migrated") as warehouse,
        fresh_database(server, "template0") as metadata,
        fleet(
            Path(folder),
            installs=asked.installs,
            warehouse_url=warehouse,
            metadata_url=metadata,
            dags=ROOT / "dags",
            prompt=False,
        ) as running,
    ):
        story = Story(running, lambda line: print(line, flush=True))
        # Airflow misses a dead worker's task after five minutes, and the task is tried again a minute later.
        tell(story, seconds=3_600)
        story.redis_is_gone_and_comes_back_empty(seconds=1_200)
    print(f"done in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
