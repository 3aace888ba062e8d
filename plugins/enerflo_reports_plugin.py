"""Registers the report pages, their places in the Airflow UI, the notes of runs, and a timetable.

Every process of Airflow executes this file, each task's included, so it imports little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink
from enerflo_airflow.links import (
    APP_PREFIX,
    RUN_UI_ROUTE,
    UI_ROUTE,
    PlanLink,
    QualityLink,
    ReportLink,
    base_path,
)
from enerflo_airflow.notes import RunNotes
from enerflo_airflow.timetable import BackfillMonths

Message = MutableMapping[str, Any]


class ReportPages:
    """The reports app, imported when the API server is asked for a page of it."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request (ASGI)."""
        app = await asyncio.to_thread(_report_app)
        await app(scope, receive, send)


@cache
def _report_app() -> Any:
    from enerflo_airflow.pages import app

    return app


class EnerfloReportsPlugin(AirflowPlugin):
    """What this project adds to Airflow's own processes."""

    name = "enerflo_reports"
    fastapi_apps: ClassVar[list[Any]] = [
        {"app": ReportPages(), "url_prefix": APP_PREFIX, "name": "Enerflo reports"}
    ]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Enerflo reports",
            "href": f"{base_path()}{APP_PREFIX}/reports",
            "destination": "nav",
            "category": "browse",
            "url_route": UI_ROUTE,
        },
        {
            "name": "Enerflo report",
            "href": f"{base_path()}{APP_PREFIX}/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": RUN_UI_ROUTE,
        },
    ]
    listeners: ClassVar[list[Any]] = [RunNotes()]
    timetables: ClassVar[list[Any]] = [BackfillMonths]
    operator_extra_links: ClassVar[list[BaseOperatorLink]] = [ReportLink(), PlanLink(), QualityLink()]
