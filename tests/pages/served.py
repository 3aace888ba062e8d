"""Airflow's API server with our pages, in a thread of this process, and a browser's way in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from enerflo_demo.processes import free_port


@contextmanager
def served_pages() -> Iterator[str]:
    """Yield the address of Airflow's API server, which shows the account that the environment names."""
    port = free_port()
    config = uvicorn.Config(create_app(apps="core"), host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def token_of(role: str | None, name: str = "pat") -> str:
    """Return what a browser's cookie ``_token`` holds for a user of the simple auth manager."""
    token: str = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))
    return token


def enter(page: Page) -> None:
    """Open our pages by Airflow's navigation: while Airflow still draws its page a click may be lost."""
    for _ in range(6):
        page.get_by_role("link", name="Enerflo").first.click()
        with suppress(PlaywrightTimeout):
            overview = page.frame_locator('iframe[title="Enerflo"]').get_by_role("link", name="Overview")
            overview.wait_for(timeout=15_000)
            return
    raise AssertionError("the entry leads nowhere")
