"""What is said of an account's approvers where FAB's auth manager has the users; in a process of its own."""

from __future__ import annotations

import json
import os
import sys

from tests import airflow_environment  # isort: skip


def problem() -> str:
    """Return what is said of the approvers 1 to 4 and maria: one may answer, one is not active, one may only read."""
    airflow_environment.migrated_metadata()
    from airflow.api_fastapi.app import create_app
    from airflow.providers.fab.www.app import create_app as flask_app
    from enerflo_airflow.approver_check import approver_problem

    create_app(apps="core")
    flask = flask_app(enable_plugins=False)
    with flask.app_context():
        security = flask.appbuilder.sm
        for name, role, active in (("ann", "User", True), ("bea", "User", False), ("cat", "Viewer", True)):
            user = security.add_user(
                name, name, name, f"{name}@example.com", security.find_role(role), password=name
            )
            user.active = active
            security.update_user(user)
        return approver_problem("default")


if __name__ == "__main__":
    os.environ.update(json.load(sys.stdin))
    json.dump(problem(), sys.stdout)
