"""The Airflow environment comes first: it has to be set before anything of Airflow is imported."""

from __future__ import annotations

from tests import airflow_environment

__all__ = ["airflow_environment"]
