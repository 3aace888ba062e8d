"""The packages that the program is made of: their licences, and the bill of materials."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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


class Advisories(BaseHTTPRequestHandler):
    """What osv.dev answers: one weakness of ``weak``, if that is a package."""

    weak = ""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
        known = {"vulns": [{"id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-01-01T00:00:00Z"}]}
        self.answer({"results": [known if one["package"]["name"] == self.weak else {} for one in asked]})

    def do_GET(self) -> None:
        package = {"ecosystem": "PyPI", "name": self.weak}
        events = [{"introduced": "0"}, {"fixed": "99.0"}]
        self.answer(
            {
                "id": "GHSA-aaaa-bbbb-cccc",
                "summary": "A weakness",
                "modified": "2026-01-01T00:00:00Z",
                "published": "2026-01-01T00:00:00Z",
                "affected": [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
            }
        )


@pytest.fixture
def advisories(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if uv_program() is None:
        pytest.skip("NOT CHECKED: the look for weaknesses, as uv is not here (make sync fetches it)")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # One try is enough of a place that is not there.
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def looked(address: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.supply_chain", "look", "--service-url", address, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_scheduled_look_says_what_to_do(advisories: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = looked(advisories)
    assert code == 0
    assert "Found no known vulnerabilities" in said
    monkeypatch.setattr(Advisories, "weak", "psycopg")
    code, said = looked(advisories)
    assert code == 1
    assert "GHSA-aaaa-bbbb-cccc" in said
    assert "Fixed in: 99.0" in said
    assert said.splitlines()[-1].startswith("Take the fixed versions (uv lock --upgrade-package NAME)")
    assert looked(advisories, "--ignore", "GHSA-aaaa-bbbb-cccc")[0] == 0
    code, said = looked("http://127.0.0.1:1/")
    assert code == 2
    assert said.splitlines()[-1].startswith("Nothing was checked: the advisories were not reached.")
