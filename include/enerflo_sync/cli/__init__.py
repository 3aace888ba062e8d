"""The command line: every job without Airflow, through the same functions."""

from __future__ import annotations

from enerflo_sync.cli.app import main

__all__ = ["main"]
