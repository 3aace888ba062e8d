"""Who may decide about a plan on its page: the account's approvers, and the second of two persons."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import known_dags
from tests.pages.company import PageCompany
from tests.pages.rights import FAB
from tests.pages.test_plans import Visits, states, stored, waiting

pytestmark = pytest.mark.airflow


def test_a_plan_is_decided_by_the_accounts_approvers_alone(
    visitor: Visits, told_company: PageCompany, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_dags.known("approve")
    config = Path(told_company.environ["ENERFLO_SYNC_CONFIG"]).read_text()
    named = "    airflow: {approvers: [maria], "
    (tmp_path / "sync.yaml").write_text(config.replace("    airflow: {", named, 1))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(tmp_path / "sync.yaml"))
    pat = visitor("ADMIN", "pat")
    path = waiting(pat)
    for action, fields in (("approve", {}), ("reject", {"reason": "no"})):
        # The token is that of every form of the account.
        answer = pat.post(f"{path}/{action}", "overview/default", **fields)
        assert answer.status_code == 403
        assert "Only maria may decide about plans of account default." in answer.text
    assert (stored(pat, path), known_dags.runs_of("approve")) == (("open", None), [])
    # No form is there whose answer would be a refusal, but who may decide instead.
    form = f'<form method="post" action="/enerflo/{path}" class="deciding">'
    pages = (path, f"{path}?table=installs&direction=to_crm&op=update&field=status")
    for page in pages:
        text = pat.text(page)
        assert "Only maria may decide about plans of account default." in text
        assert form not in text
        assert "Decide at the end of this page." not in text
    maria = visitor("ADMIN", "maria")
    assert all(form in maria.text(page) for page in pages)
    assert visitor("ADMIN", "maria").post(f"{path}/approve", path).status_code == 303
    assert stored(pat, path) == ("approved", "maria")


def named(company: PageCompany, folder: Path, approvers: str, *, two: bool = False) -> Path:
    """Write the company's ``sync.yaml`` with approvers, and return it."""
    text = Path(company.environ["ENERFLO_SYNC_CONFIG"]).read_text()
    text = text.replace("    airflow: {", f"    airflow: {{approvers: {approvers}, ", 1)
    if two:
        text = re.sub(r"^  first_to_enerflo: \w+", r"\g<0>\n  second_person: true", text, flags=re.MULTILINE)
    (folder / "sync.yaml").write_text(text)
    return folder / "sync.yaml"


ASKS_ANOTHER = "Nobody can answer in Airflow."


@pytest.mark.parametrize(
    ("users", "approvers", "two", "said"),
    [
        ("pat:admin,maria:user", "[maria]", False, None),
        ("pat:admin,maria:user", "[maria, jo]", False, "jo is no user of this Airflow who is active."),
        (
            "pat:admin,maria:user",
            "[{id: jo, name: Jo}]",
            False,
            f"Jo (id jo) is no user of this Airflow who is active. {ASKS_ANOTHER}",
        ),
        (
            "pat:admin,maria:viewer",
            "[maria]",
            False,
            f"maria may not answer questions of the DAG enerflo_approve. {ASKS_ANOTHER}",
        ),
        (
            "pat:admin,maria:user",
            "[maria, jo]",
            True,
            "jo is no user of this Airflow who is active. Two persons have to, and one alone can.",
        ),
        ("pat:admin", "[]", False, None),
    ],
    ids=["may", "one may", "no user", "no right", "second person", "everybody"],
)
def test_approvers_who_cannot_answer_are_named_where_the_plan_waits(
    visitor: Visits,
    told_company: PageCompany,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    users: str,
    approvers: str,
    two: bool,
    said: str | None,
) -> None:
    """A plan that nobody can answer waits until its time runs out, and so does the next one."""
    known_dags.known("approve")
    config = named(told_company, tmp_path, approvers, two=two)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
    pat = visitor("ADMIN", "pat")
    path = waiting(pat)
    for page in (path, "overview/default"):
        text = html.unescape(pat.text(page))
        assert ("Who may decide" in text) is bool(said)
        if said:
            line = next(n for n, row in enumerate(config.read_text().splitlines(), 1) if "approvers" in row)
            assert f"{config}:{line}: airflow.approvers: {said}" in text
            assert ASKS_ANOTHER in said or ASKS_ANOTHER not in text


def test_where_nobody_logs_in_everybody_is_anonymous(
    visitor: Visits, told_company: PageCompany, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "true")
    for approvers, is_said in (("[Anonymous]", False), ("[maria]", True)):
        monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(named(told_company, tmp_path, approvers)))
        assert ("Who may decide" in visitor("ADMIN", "pat").text("overview/default")) is is_said


@pytest.mark.skipif(
    importlib.util.find_spec("flask_appbuilder") is None, reason="FAB's provider is not installed"
)
def test_approvers_are_looked_for_among_fabs_users(told_company: PageCompany, tmp_path: Path) -> None:
    config = named(told_company, tmp_path, '["1", "2", {id: "3", name: cat}, "4", maria]')
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-m", "tests.pages.fab_approvers"],
        input=json.dumps({**told_company.environ, "ENERFLO_SYNC_CONFIG": str(config)}),
        env={
            **os.environ,
            "AIRFLOW__CORE__AUTH_MANAGER": FAB,
            "PYTHONPATH": os.pathsep.join([str(root), *(part for part in sys.path if part)]),
        },
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    said = json.loads(found.stdout.splitlines()[-1])
    assert "airflow.approvers: 2 is no user of this Airflow who is active;" in said
    assert "; cat (id 3) may not answer questions of the DAG enerflo_approve; 4 is no user" in said
    assert "; maria is no user" in said
    assert " 1 is " not in said
    assert "Nobody can" not in said


@pytest.fixture
def two_persons(told_company: PageCompany, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path(told_company.environ["ENERFLO_SYNC_CONFIG"]).read_text()
    assert "first_to_enerflo: " in config
    two = re.sub(r"^  first_to_enerflo: \w+", r"\g<0>\n  second_person: true", config, flags=re.MULTILINE)
    (tmp_path / "sync.yaml").write_text(two)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(tmp_path / "sync.yaml"))


def test_the_page_names_the_first_of_two_persons_and_asks_another(visitor: Visits, two_persons: None) -> None:
    known_dags.known("approve")
    pat = visitor("ADMIN", "pat")
    path = waiting(pat)
    first = pat.post(f"{path}/approve", path, about="only", chosen="installs.panel_count")
    assert first.headers["location"].startswith(f"/enerflo/{path}?notice=")
    assert (stored(pat, path), known_dags.runs_of("approve")) == (("open", None), [])
    text = html.unescape(pat.text(path))
    assert "waits for a second person's approval; pat approved it" in text.lower()
    assert 'The part: <span class="mono">installs.panel_count; the rest stays open</span>.' in text
    again = pat.post(f"{path}/approve", path, about="same")
    assert (again.status_code, "pat approved it already" in again.text) == (409, True)
    sam = visitor("ADMIN", "sam")
    other = sam.post(f"{path}/approve", path)
    assert other.status_code == 409
    assert "pat approved another part: installs.panel_count; the rest stays open" in html.unescape(other.text)
    assert "Approve what pat approved" in sam.text(path)
    done = sam.post(f"{path}/approve", path, about="same")
    assert done.headers["location"].startswith("/enerflo/run?dag_id=enerflo_approve&run_id=")
    assert stored(sam, path) == ("approved", "pat and sam")
    assert len(known_dags.runs_of("approve")) == 1
    assert states(sam, path, "field = 'panel_count' and op = 'update'").keys() == {"planned"}
    assert "left_out" in states(sam, path)
