"""Who may decide about a plan on its page: the account's approvers, and the second of two persons."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from tests.pages import known_dags
from tests.pages.company import PageCompany
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
        answer = pat.post(f"{path}/{action}", path, **fields)
        assert answer.status_code == 403
        assert "Only maria may decide about plans of account default." in answer.text
    assert (stored(pat, path), known_dags.runs_of("approve")) == (("open", None), [])
    assert visitor("ADMIN", "maria").post(f"{path}/approve", path).status_code == 303
    assert stored(pat, path) == ("approved", "maria")


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
