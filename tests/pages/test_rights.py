"""docs/pages.md says who may do what, cell by cell, for the simple auth manager and for FAB's."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI

from tests.pages.company import PageCompany
from tests.pages.conftest import Visitor
from tests.pages.rights import FAB, RIGHTS, ROLES, rights_of

pytestmark = pytest.mark.airflow
ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "pages.md").read_text()


def told(manager: str) -> dict[str, dict[str, bool]]:
    """Return what the page says of an auth manager: by role and right."""
    table = re.search(rf"\n\| {manager} \|(.+)\n\|[-| ]+\n((?:\|.+\n)+)", PAGE)
    assert table, manager
    roles = [cell.strip() for cell in table[1].strip(" |").split("|")]
    rows = [[cell.strip() for cell in row.strip(" |").split("|")] for row in table[2].splitlines()]
    return {role: {row[0]: row[at] == "yes" for row in rows} for at, role in enumerate(roles, start=1)}


@pytest.mark.parametrize("manager", ["Simple auth manager", "FAB"])
def test_the_tables_name_every_role_and_right(manager: str) -> None:
    assert list(told(manager)) == list(ROLES)
    assert all(list(rights) == list(RIGHTS) for rights in told(manager).values())


@pytest.mark.parametrize("role", ROLES)
def test_the_simple_auth_managers_roles_may_what_the_page_says(
    visitor: Callable[..., Visitor], airflow_app: FastAPI, role: str
) -> None:
    visitor()
    user = SimpleAuthManagerUser(username="someone", role=None if role == "no role" else role.upper())
    token = get_auth_manager().generate_jwt(user)
    assert rights_of(airflow_app, user, token) == told("Simple auth manager")[role]


@pytest.mark.skipif(
    importlib.util.find_spec("flask_appbuilder") is None, reason="FAB's provider is not installed"
)
def test_fabs_roles_may_what_the_page_says(told_company: PageCompany) -> None:
    environ = {**os.environ, "AIRFLOW__CORE__AUTH_MANAGER": FAB}
    path = os.pathsep.join([str(ROOT), *(part for part in sys.path if part)])
    found = subprocess.run(
        [sys.executable, "-m", "tests.pages.rights"],
        input=json.dumps(dict(told_company.environ)),
        env={**environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert json.loads(found.stdout.splitlines()[-1]) == told("FAB")
