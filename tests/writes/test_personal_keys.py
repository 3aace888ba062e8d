"""A key that holds personal data is masked as its field is, in plans, explanations and what-ifs."""

from __future__ import annotations

import msgspec
import pytest

from enerflo_sync.addresses import Addresses
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.what_if import run_what_if
from enerflo_sync.plan.render import plan_lines
from enerflo_sync.plan.render.shown_plan import masked_changes, masked_undecided, show_plan
from enerflo_sync.plan.what_if_text import render_what_if
from enerflo_sync.reconcile.render.frame import Frame
from tests.writes.conftest import Desk

FIRST_NAME = "first_name: {enerflo: first_name, type: text, trim: true, source_of_truth: "
BY_EMAIL = (("key: [lead_id]", "key: [email]"), (f"{FIRST_NAME}crm", f"{FIRST_NAME}review"))
MASKED = {"email": "…@….com"}


@pytest.fixture
def by_email(desk: Desk) -> Desk:
    """An account whose CRM knows a lead by its e-mail; e-mails and first names differ."""
    desk.switched_on("both", *BY_EMAIL)
    desk.sql("update crm.leads set email = 'ann.' || lead_id || '@example.com', updated_at = now()")
    desk.sql("update crm.leads set first_name = 'Zoe', updated_at = now()")
    return desk


def test_a_plan_masks_them_and_leads_to_no_record_by_them(by_email: Desk) -> None:
    install = by_email.one("select min(enerflo_install_id) from crm.installs")
    by_email.sql("update crm.installs set panel_count = 99 where enerflo_install_id = :id", id=install)
    plan = by_email.plan()
    config = by_email.context.config
    tables = config.tables_for("default")
    changes = list(masked_changes(by_email.changes(plan), tables))
    questions = masked_undecided(by_email.undecided(plan), tables)
    assert MASKED in [one.key for one in changes]
    assert MASKED in [one.key for one in questions]
    with by_email.engine.connect() as connection:
        shown = show_plan(connection, config, "default", plan.plan_hash)
    page = by_email.page(plan, Frame(Addresses(), "default", token="may act"))
    assert f"/record/default/installs/{install}" in page
    assert "/record/default/leads" not in page
    assert f'value="installs:{install}.panel_count"' in page
    assert 'value="leads:' not in page
    text = "\n".join(line.text for line in plan_lines(shown))
    for told in (page, text, msgspec.json.encode([changes, questions]).decode()):
        assert "ann." not in told


def test_an_explanation_masks_them_unless_revealed(by_email: Desk) -> None:
    email = by_email.one("select min(email) from crm.leads")
    masked = run_explain(by_email.context, "lead", email)
    assert masked.key == MASKED
    assert "ann." not in render_explanation(masked)
    assert run_explain(by_email.context, "lead", email, reveal=True, by="Me").key == {"email": email}


def test_a_what_if_masks_them(by_email: Desk) -> None:
    path = by_email.folder / "new.yaml"
    email = "email: {enerflo: email, type: text, trim: true, fold_case: true, source_of_truth: "
    path.write_text((by_email.folder / "sync.yaml").read_text().replace(f"{email}crm", f"{email}enerflo"))
    report = run_what_if(by_email.context, path, {})
    assert MASKED in [sample.key for one in report.plan for sample in one.samples]
    assert "ann." not in render_what_if(report)
