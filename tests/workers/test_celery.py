"""CeleryExecutor with real parts as processes: Debian's Redis, a scheduler, and two workers, one of which dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fresh_database
from tests.workers.fleet import IMPATIENT, REDIS, fleet
from tests.workers.story import Story, tell

REQUIRED = bool(os.environ.get("CI") or os.environ.get("ENERFLO_REQUIRE_BROWSER"))
INSTALLS = 3_000

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        REDIS is None and not REQUIRED,
        reason="CELERY WORKERS ARE NOT TESTED: there is no redis-server on this machine (apt-get install redis-server)",
    ),
]


@pytest.fixture
def story(postgres_url: str, warehouse_url: str, tmp_path: Path) -> Iterator[Story]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "enerflo.py").write_text(IMPATIENT)
    with (
        fresh_database(postgres_url, "template0") as metadata,
        fleet(
            tmp_path,
            installs=INSTALLS,
            warehouse_url=warehouse_url,
            metadata_url=metadata,
            dags=dags,
            prompt=True,
        ) as running,
    ):
        yield Story(running, print)


def test_a_backfill_across_two_workers_loses_and_doubles_nothing_when_one_dies(story: Story) -> None:
    tell(story, seconds=180)
    story.redis_is_gone_and_comes_back_empty()
