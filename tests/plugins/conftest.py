"""The Airflow environment comes first: it has to be set before anything of Airflow is imported."""

from __future__ import annotations

from typing import Any

import pytest

from tests import airflow_environment  # isort: skip
from airflow.sdk.bases.xcom import BaseXCom
from enerflo_airflow.notes import NOTE_KEY

from tests.airflow_fixtures import company, connected, metadata, reconciled, setting

__all__ = ["airflow_environment", "company", "connected", "metadata", "reconciled", "setting"]


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The lines that tasks without a supervisor store for the notes of their runs, by task."""
    kept: dict[str, str] = {}

    def keep(key: str, value: str, *, task_id: str, **_: Any) -> None:
        assert key == NOTE_KEY
        kept[task_id] = value

    monkeypatch.setattr(BaseXCom, "set", keep)
    return kept
