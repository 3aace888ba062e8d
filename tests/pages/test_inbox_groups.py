"""Entries of the inbox that stand for many: late changes of a table, and questions of one field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages.company import PageCompany
from tests.pages.test_inbox import PAGE, Visits, listed

pytestmark = pytest.mark.airflow


def test_a_change_that_was_handed_over_and_is_late_waits_too(
    visitor: Visits, told_company: PageCompany, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = Path(told_company.environ["ENERFLO_SYNC_CONFIG"]).read_text()
    mapped = "    crm_table: crm.milestones\n"
    assert mapped in shipped
    copied = f"{mapped}    write_to: {{changes: sync.crm_changes, late_hours: 5}}\n"
    (tmp_path / "sync.yaml").write_text(shipped.replace(mapped, copied))
    pat = visitor("ADMIN")
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(tmp_path / "sync.yaml"))
    pat.sql(
        'insert into sync.crm_changes (account, change_id, table_name, crm_table, key, op, "column", plan_hash,'
        " kind, approved_by, made_at, state, state_at) select account, position::text, table_name, 'crm.milestones',"
        " key, op, field, plan_hash, 'sync', 'pat', now() - interval '4 hours', 'open', now()"
        " from sync.plan_changes where table_name = 'milestones' and op = 'update'"
    )
    assert listed(pat, f"{PAGE}?kind=late") == []
    pat.sql("update sync.crm_changes set made_at = now() - interval '6 hours'")
    (one,) = listed(pat, f"{PAGE}?kind=late")
    assert one.startswith("2 changes of milestones handed over and not arrived: Nothing took it over")
    # The one that a tool took is late as well, and the older one.
    pat.sql(
        "update sync.crm_changes set made_at = now() - interval '9 hours',"
        " acknowledged_at = now() - interval '7 hours' where change_id = (select min(change_id) from sync.crm_changes)"
    )
    (one,) = listed(pat, f"{PAGE}?kind=late")
    assert one.startswith("2 changes of milestones handed over and not arrived: A tool took 1 of them over")
    pat.sql("update sync.crm_changes set acknowledged_at = now()")
    assert listed(pat, f"{PAGE}?kind=late") == []


def test_so_many_reasons_of_one_field_are_one_question(
    visitor: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    from enerflo_sync.plan import questions

    pat = visitor("VIEWER")
    (plan,) = pat.sql("select plan_hash from sync.plans where kind = 'sync' and part = 1")
    pat.sql(
        "insert into sync.plan_undecided (account, plan_hash, position, table_name, key, field, cause, reason)"
        " select 'default', :h, 1000 + n, 'installs', jsonb_build_object('enerflo_install_id', n), 'status',"
        " 'conflict', 'reason ' || n from generate_series(1, 9) n",
        h=plan["plan_hash"],
    )
    monkeypatch.setattr(questions, "_MOST_GROUPS", 8)
    with pat.engine.begin() as connection:
        questions.note_questions(connection, "default", plan["plan_hash"], [])
    found = listed(pat, f"{PAGE}?kind=question")
    assert "9 questions about installs.status: several reasons" in found
    assert len(found) < 8
    address = re.search(
        r'href="/enerflo/([^"]+\?group=\w+)"[^>]*>All of them', pat.text(f"{PAGE}?kind=question")
    )
    assert address
    (group_of,) = [
        path
        for path in re.findall(r'href="/enerflo/(plans[^"]+\?group=\w+)"', pat.text(f"{PAGE}?kind=question"))
        if "reason 9" in pat.text(path)
    ]
    assert all(f"reason {n}<" in pat.text(group_of) for n in range(1, 10))
