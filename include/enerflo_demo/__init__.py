"""The demo on one machine: a simulated company, PostgreSQL, Airflow with the DAGs, and the report."""

from __future__ import annotations

from enerflo_demo.story import run_demo

__all__ = ["run_demo"]
