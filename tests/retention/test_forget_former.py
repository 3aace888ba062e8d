"""An install went from one customer to another, and then the first one is forgotten."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.retention.test_forget import FIRST, LAST, Person, found
from tests.retention.test_forget_events import plain, somebody_else

__all__ = ["plain"]
NAME = "select customer_name from enerflo.installs where install_id = :i"


@pytest.fixture
def moved(plain: Person) -> Person:
    """A person whose install is somebody else's by now, in the mirror and in the CRM."""
    desk = plain.desk
    run_reconcile(desk.context)
    desk.world.give_install(plain.install, somebody_else(plain).customer_id)
    run_poll(desk.context)
    run_reconcile(desk.context)
    desk.carried()
    assert f"{FIRST} {LAST}" not in desk.one(NAME, i=plain.install)
    return plain


def test_nothing_of_the_earlier_owner_stays_at_an_install_that_is_anothers(moved: Person) -> None:
    desk = moved.desk
    before = found(desk)
    assert any("install_versions" in name for name in before)
    assert any("ledger" in name for name in before)
    name = desk.one(NAME, i=moved.install)
    moved.forget()
    assert found(desk) == {}
    # What is the later owner's stays.
    assert desk.one(NAME, i=moved.install) == name
    told = desk.one(
        "select count(*) from sync.ledger where new_value = to_jsonb(cast(:name as text))", name=name
    )
    assert told >= 1
    raw = desk.one(
        "select count(*) from enerflo.install_versions v join enerflo.installs i using (account, content_hash)"
        " where i.install_id = :i and v.raw::text like '%' || :name || '%'",
        i=moved.install,
        name=name.split()[0],
    )
    assert raw == 1
    desk.settled()


def test_refused_while_a_change_of_such_an_install_waits(moved: Person) -> None:
    desk = moved.desk
    desk.world.resubmit_install(moved.install, panel_count=37)
    run_poll(desk.context)
    plan = desk.plan()
    assert plan.change_count
    with pytest.raises(ConfigurationError, match="Apply or reject the plan first"):
        moved.forget()
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    moved.forget()
    assert found(desk) == {}
