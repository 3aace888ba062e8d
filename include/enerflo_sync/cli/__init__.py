"""The command line: every job without Airflow, by the same functions."""

from __future__ import annotations

from enerflo_sync.cli.app import main

__all__ = ["main"]
