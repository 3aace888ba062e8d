"""What Airflow exports to authors is imported from there: other modules of Airflow move between releases."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import airflow.sdk

from tests.airflow_environment import DAGS, PLUGINS


def imported() -> Iterator[tuple[str, str, str]]:
    """Each name that the Airflow parts import from Airflow: file, module, name."""
    for path in (*(PLUGINS / "enerflo_airflow").rglob("*.py"), *DAGS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow."):
                for alias in node.names:
                    yield path.name, node.module or "", alias.name


def test_what_the_sdk_exports_is_imported_from_it() -> None:
    public, found = set(airflow.sdk.__all__), list(imported())
    assert len(found) > 100
    # The server has classes of the same names as the SDK's (TaskInstance, DagRunState); its settings are the same.
    private = [
        one
        for one in found
        if one[2] in public and (one[1].startswith("airflow.sdk.") or one[1] == "airflow.configuration")
    ]
    assert private == []
    assert [one for one in found if "._internal" in one[1] or one[1].startswith("airflow._shared")] == []
