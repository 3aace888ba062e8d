"""The packages that the program is made of: their licences, and the bill of materials."""

from __future__ import annotations

import tomllib

import pytest

from tests.supply_chain import (
    ALLOWED,
    PERMITTED,
    ROOT,
    STATED,
    Package,
    bill_of_materials,
    packages,
    uv_program,
)


def test_every_package_has_a_licence_that_is_allowed() -> None:
    found = packages()
    assert len(found) > 150
    assert {one.name: one.licence for one in found if not one.allowed} == {}


def test_nothing_is_permitted_by_name_that_is_not_needed() -> None:
    """A package that is gone, or that names its licence by now, is taken off the lists."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert {*PERMITTED, *STATED} <= {one["name"] for one in locked}


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT AND PSF-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("AGPL-3.0-only", False),
        ("", False),
        ("Something of their own", False),
    ],
)
def test_a_licence_that_is_not_on_the_list_is_noticed(licence: str, allowed: bool) -> None:
    assert Package("one", "1", licence).allowed is allowed
    assert "GPL-2.0-or-later" not in ALLOWED


def test_the_bill_of_materials_has_the_locked_packages_of_a_server() -> None:
    uv = uv_program()
    if uv is None:
        pytest.skip("NOT CHECKED: the bill of materials, as uv is not here (make sync fetches it)")
    bill = bill_of_materials(uv)
    assert bill["bomFormat"] == "CycloneDX"
    locked = {
        (one["name"], one["version"]) for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    }
    found = {(one["name"], one["version"]): one for one in bill["components"] if one.get("version")}
    assert found.keys() <= locked
    names = {name for name, _ in found}
    assert {"apache-airflow", "psycopg", "great-expectations", "s3fs"} <= names
    assert not names & {"pytest", "hypothesis", "ruff"}
    assert all(one["purl"].startswith("pkg:pypi/") for one in found.values() if one["name"] != "enerflo-sync")
    assert found[next(key for key in found if key[0] == "psycopg")]["licenses"] == [
        {"expression": "LGPL-3.0-only"}
    ]
