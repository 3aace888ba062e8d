"""Registers the report pages, their places in the Airflow UI, the listener for notes, and a timetable.

Airflow finds this module by the entry point ``airflow.plugins``. Every Airflow process imports it, also for
each task, so it imports little.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink, conf

from enerflo_airflow.links import (
    APP_PREFIX,
    RUN_UI_ROUTE,
    UI_ROUTE,
    FreshnessLink,
    InboxLink,
    OverviewLink,
    PlanLink,
    QualityLink,
    ReportLink,
    RunLink,
    base_path,
)
from enerflo_airflow.notes import RunNotes
from enerflo_airflow.timetable import BackfillMonths

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


class ReportPages:
    """The reports app, imported when the API server receives the first request for a page."""

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


# Files that earlier versions asked people to copy into Airflow's plugins folder.
_ONCE_COPIED = ("enerflo_reports_plugin.py", "enerflo_airflow")


def copied_before(folder: Path) -> list[str]:
    """Return the names in a plugins folder that were copied there for an earlier version."""
    if folder.resolve() in Path(__file__).resolve().parents:
        return []
    return [name for name in _ONCE_COPIED if (folder / name).exists()]


# The icon of the entry in the navigation, in a colour that is seen on light, dark and chosen entries.
_DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" fill="none" stroke="#e58a00"'
    ' stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M3 7h11M11 3.5 14.5 7 11 10.5M17 13H6M9 9.5 5.5 13 9 16.5"/></svg>'
)
_ICON = f"data:image/svg+xml,{quote(_DRAWN, safe='')}"


class EnerfloReportsPlugin(AirflowPlugin):
    """Extensions of Airflow's own processes."""

    name = "enerflo_reports"
    fastapi_apps: ClassVar[list[Any]] = [
        {"app": ReportPages(), "url_prefix": APP_PREFIX, "name": "Enerflo reports"}
    ]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Enerflo",
            "href": f"{base_path()}{APP_PREFIX}/accounts",
            "destination": "nav",
            "nav_top_level": True,
            "icon": _ICON,
            "url_route": UI_ROUTE,
        },
        {
            "name": "Enerflo result",
            "href": f"{base_path()}{APP_PREFIX}/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": RUN_UI_ROUTE,
        },
    ]
    # Only a component in JavaScript may stand on Airflow's home.
    react_apps: ClassVar[list[Any]] = [
        {
            "name": "Enerflo card",
            "bundle_url": f"{base_path()}{APP_PREFIX}/card.js",
            "destination": "dashboard",
        }
    ]
    listeners: ClassVar[list[Any]] = [RunNotes()]
    timetables: ClassVar[list[Any]] = [BackfillMonths]
    operator_extra_links: ClassVar[list[BaseOperatorLink]] = [
        ReportLink(),
        PlanLink(),
        QualityLink(),
        FreshnessLink(),
        InboxLink(),
        OverviewLink(),
        RunLink(),
    ]

    @classmethod
    def on_load(cls, *_args: Any, **_options: Any) -> None:
        """Warn about an earlier version's copies, which would show each page and button twice."""
        folder = Path(conf.get("core", "plugins_folder"))
        if copies := copied_before(folder):
            log.warning(
                "%s: found %s, expected nothing of enerflo-sync: the installed package brings them along."
                " Remove them.",
                folder,
                " and ".join(copies),
            )
