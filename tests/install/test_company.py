"""Sections 1 and 2 of the README with the two wheels alone: no Airflow, no extra but the simulated company."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY
from tests.install.place import ROOT, SOURCES, Place, place_with_sources, wanted_packages

pytestmark = pytest.mark.timeout(600)
COMPANY = "--installs 30 --seed 7"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Place]:
    """An environment with what the last block of the README installs, and the address of an empty warehouse."""
    from tests.conftest import fresh_database

    found = place_with_sources(tmp_path_factory.mktemp("company"))
    build = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[-1]
    assert "sandbox" in build
    found.sh(build, PIP_CONSTRAINT=str(wanted_packages(found, "sandbox")))
    for name in SOURCES:
        remove = shutil.rmtree if (found.folder / name).is_dir() else Path.unlink
        remove(found.folder / name)
    with fresh_database(postgres_url, "template0") as warehouse:
        found.environ.update({"WAREHOUSE_URL": warehouse, "ENERFLO_API_KEY": DEFAULT_KEY})
        yield found


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[str]:
    """The address of the installed simulated company."""
    command = f"exec enerflo-sync sandbox serve {COMPANY} --port 0 --rate-limit 100000 2>&1"
    company = subprocess.Popen(
        ["/bin/bash", "-c", command], cwd=place.folder, env=place.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert company.stdout is not None
        yield next(
            address[0] for line in company.stdout if (address := re.search(r"http://[\d.]+:\d+", line))
        )
    finally:
        company.terminate()
        company.communicate()


def test_the_commands_of_the_readme_with_the_installed_wheels(place: Place, served: str) -> None:
    place.environ["ENERFLO_BASE_URL"] = served
    place.sh(f"enerflo-sync sandbox crm-tables {COMPANY} --per-cause 1")
    place.sh("enerflo-sync migrate")
    assert "sync.yaml" in place.sh("enerflo-sync init .")
    config = place.folder / "sync.yaml"
    # The draft of a warehouse that has the tables of the demo; what was polled just now is compared, too.
    text = config.read_text()
    assert "mode: report" in text
    config.write_text(text.replace("mode: report", "mode: both").replace("minutes: 30", "minutes: 0"))
    place.environ["ENERFLO_SYNC_CONFIG"] = str(config)
    place.sh("enerflo-sync doctor")
    assert json.loads(place.sh("enerflo-sync poll --json"))
    place.sh("enerflo-sync reconcile --format html --out report.html")
    assert "</html>" in (place.folder / "report.html").read_text()

    plan = json.loads(place.sh("enerflo-sync plan --json"))["plan_hash"]
    place.sh(f'enerflo-sync apply {plan} --approve "Pat Lee"')
    engine = sa.create_engine(place.environ["WAREHOUSE_URL"], poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        # One record of the company cannot be used.
        assert connection.scalar(sa.text("select count(*) from enerflo.installs")) == 29
        assert connection.scalar(sa.text("select count(*) from sync.quarantine where state = 'open'")) == 1
        written = connection.scalar(sa.text("select count(*) from sync.ledger"))
        record = connection.scalar(sa.text("select min(install_id) from enerflo.installs"))
    assert written > 0
    assert str(record) in place.sh(f"enerflo-sync explain install {record}")
    for command in (
        "gaps",
        "rebuild",
        "fields installs",
        "what-if sync.yaml",
        "prune --dry-run",
        "quarantine list",
    ):
        place.sh(f"enerflo-sync {command}")
