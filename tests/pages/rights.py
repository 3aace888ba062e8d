"""What a user of Airflow may do on the pages, found by asking the pages; also in a process of its own for FAB."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from tests import airflow_environment  # isort: skip
from fastapi import FastAPI
from fastapi.testclient import TestClient

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
ROLES = ("no role", "Viewer", "User", "Op", "Admin")

PLUGINS, TEAM = "readers-of-plugins", "team"
GIVEN: Mapping[str, list[tuple[str, str]]] = {
    PLUGINS: [("can_read", "Plugins")],
    TEAM: [("can_read", "DAG:enerflo_reconcile"), ("can_read", "DAG Runs")],
}


def _token(user: Any) -> str:
    from enerflo_airflow.page_tokens import token_for

    return token_for(str(user.get_id()), "default")


def _reads(client: TestClient, _: Any) -> bool:
    return client.get("/enerflo/overview/default").status_code == 200


def _sees_menu(client: TestClient, _: Any) -> bool:
    return client.get("/api/v2/plugins").status_code == 200


def _settles(client: TestClient, user: Any) -> bool:
    # A window that cannot be read: nothing starts, and who may not act is refused before that is said.
    fields = {"token": _token(user), "start": "no day"}
    return client.post("/enerflo/overview/default/backfill", data=fields).status_code == 400


def _starts_runs(client: TestClient, user: Any) -> bool:
    # Airflow does not know the DAG in this test, which is said to who may start its runs alone.
    answer = client.post("/enerflo/overview/default/reconcile", data={"token": _token(user)})
    return answer.status_code != 403


def _reveals(_: TestClient, user: Any) -> bool:
    from enerflo_airflow.page_parts import Visit

    return Visit("default", user, None).may_reveal  # type: ignore[arg-type]


RIGHTS: Mapping[str, Callable[[TestClient, Any], bool]] = {
    "read the pages": _reads,
    "see the entry *Enerflo*, the card on the home and the tab of a run": _sees_menu,
    "resolve: release, replay, approve, reject, undo": _settles,
    "start a reconciliation or a backfill": _starts_runs,
    "reveal personal data": _reveals,
}


def rights_of(app: FastAPI, user: Any, token: str) -> dict[str, bool]:
    """Return by right whether a user has it."""
    with closing(TestClient(app, base_url="http://localhost:8080", follow_redirects=False)) as client:
        client.cookies.set("_token", token)
        return {right: found(client, user) for right, found in RIGHTS.items()}


def fab_rights() -> dict[str, dict[str, bool]]:
    """Return the rights of a user of each of FAB's roles; the process must have its auth manager."""
    airflow_environment.migrated_metadata()
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.providers.fab.www.app import create_app as flask_app

    app, flask = create_app(apps="core"), flask_app(enable_plugins=False)
    found = {}
    with flask.app_context():
        security: Any = flask.appbuilder.sm
        for role in ROLES:
            name = role.replace(" ", "-").lower()
            stored = security.find_role("Public" if role == "no role" else role)
            security.add_user(name, name, name, f"{name}@example.com", stored, password=name)
            user = security.find_user(username=name)
            found[role] = rights_of(app, user, get_auth_manager().generate_jwt(user))
        # What the page tells to do for who sees no menu, and for teams.
        for role, rights in GIVEN.items():
            security.add_role(role)
            for action, resource in rights:
                permission = security.create_permission(action, resource)
                security.add_permission_to_role(security.find_role(role), permission)
            named = [
                security.find_role(one) for one in (role, "Viewer") if one != "Viewer" or role == PLUGINS
            ]
            security.add_user(role, role, role, f"{role}@example.com", named, password=role)
            user = security.find_user(username=role)
            found[role] = rights_of(app, user, get_auth_manager().generate_jwt(user))
    return found


if __name__ == "__main__":
    # The connections come this way, since a test's environment begins without any.
    os.environ.update(json.load(sys.stdin))
    json.dump(fab_rights(), sys.stdout)
