"""The Airflow environment comes first: it has to be set before anything of Airflow is imported."""

from __future__ import annotations

from tests import airflow_environment  # isort: skip
from tests.airflow_fixtures import company, connected, metadata, reconciled, setting

__all__ = ["airflow_environment", "company", "connected", "metadata", "reconciled", "setting"]
