"""The Airflow of a test run: its own home, a SQLite database, this repository's dags and plugins.

Importing this module sets the environment, so it has to be imported before anything of Airflow is. The
conftest files of the folders that use Airflow do it.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DAGS = ROOT / "dags"
PLUGINS = ROOT / "plugins"
HOME = Path(tempfile.mkdtemp(prefix="enerflo-airflow-"))

os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__CORE__FERNET_KEY": "",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
    "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(64),
    "AIRFLOW__API__BASE_URL": "http://localhost:8080",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
}
for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
    del os.environ[name]
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


@cache
def migrated_metadata() -> None:
    """Make the tables of Airflow's metadata database, once per run."""
    from airflow.utils.db import initdb

    initdb()
