"""Columns of the CRM whose type is a domain: its NOT NULL and its checks end no plan, and park one row alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk
from tests.writes.test_key_kinds import KEY, OWN

NOW = ("in_flight_minutes: 30", "in_flight_minutes: 0")


def own_key(desk: Desk, type_: str, value: str, made: str = "x-{install_id}") -> None:
    """Give the CRM's installs a key of their own of a type, which new rows get as ``made`` says."""
    desk.sql(f"alter table crm.installs add oid {type_}")
    desk.sql(f"update crm.installs set oid = {value}")
    desk.switched_on("both", (KEY, OWN.replace("x-{install_id}", made)), NOW)
    desk.carried()


def new_beside_a_change(desk: Desk) -> tuple[int, int]:
    """Let Enerflo change an install and make another one; return both, the changed one first."""
    changed = desk.a_site().install_id
    desk.world.resubmit_install(changed, panel_count=41)
    new = desk.world.create_install()
    run_poll(desk.context)
    return changed, new


@pytest.mark.parametrize("full", [True, False])
def test_a_key_of_a_domain_that_is_never_null_ends_no_plan(agreed: Desk, full: bool) -> None:
    agreed.sql("create domain crm.word as varchar(40)")
    agreed.sql("create domain crm.code as crm.word not null default 'none'")
    own_key(agreed, "crm.code", "'K' || enerflo_install_id")
    changed, new = new_beside_a_change(agreed)
    run_reconcile(agreed.context, full=full)
    agreed.carried()
    assert agreed.crm("installs", enerflo_install_id=changed)["panel_count"] == 41
    assert agreed.crm("installs", enerflo_install_id=new)["oid"] == f"x-{new}"
    agreed.settled()


@pytest.mark.parametrize(
    ("domain", "value", "made"),
    [
        ("text check (value like 'K%')", "'K' || enerflo_install_id", "x-{install_id}"),
        (
            "varchar(20) not null default 'K' check (value like 'K%')",
            "'K' || enerflo_install_id",
            "x-{install_id}",
        ),
        ("integer check (value < 100)", "enerflo_install_id % 100", "{install_id}"),
        (
            "uuid check (value::text like 'c%')",
            "overlay(gen_random_uuid()::text placing 'c' from 1)::uuid",
            "{deal_id}",
        ),
    ],
)
def test_a_new_row_whose_key_its_domain_refuses_is_parked_alone(
    agreed: Desk, domain: str, value: str, made: str
) -> None:
    agreed.sql(f"create domain crm.code as {domain}")
    own_key(agreed, "crm.code", value, made)
    changed, new = new_beside_a_change(agreed)
    agreed.sql("update enerflo.installs set deal_id = gen_random_uuid()::text where install_id = :i", i=new)
    agreed.sql(
        "update enerflo.installs set deal_id = overlay(deal_id placing 'a' from 1) where install_id = :i",
        i=new,
    )
    report = run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    assert set(report.reasons["parked"]) == {"the CRM's table refuses it: CheckViolation (code_check)"}
    assert agreed.crm("installs", enerflo_install_id=changed)["panel_count"] == 41
    assert agreed.one("select count(*) from crm.installs where enerflo_install_id = :i", i=new) == 0
    assert agreed.plan().change_count == 0
    # What a person asks for need not be a value of the domain.
    with pytest.raises(ConfigurationError, match=r"neither side has such a record|is not of the type"):
        run_explain(agreed.context, "install", "9999")


def test_a_key_that_has_more_digits_than_its_column_is_a_question(agreed: Desk) -> None:
    own_key(agreed, "numeric(5,2)", "null", "{install_id}")
    new = agreed.world.create_install()
    run_poll(agreed.context)
    asked = [one.reason for one in agreed.undecided(agreed.plan()) if one.key == {"enerflo_install_id": new}]
    assert asked == ["no key can be made for it (on_insert)"]


def test_a_domain_over_an_enumeration_is_no_key(agreed: Desk) -> None:
    agreed.sql("create type crm.word as enum ('a')")
    agreed.sql("create domain crm.code as crm.word")
    agreed.sql("alter table crm.installs add oid crm.code")
    agreed.switched_on("both", (KEY, OWN))
    with agreed.engine.connect() as connection:
        (found,) = check_mapping(connection, agreed.context.config, "default", Path("sync.yaml"))
    assert found.what == "tables.installs.key.oid"
    assert "column oid of type crm.code, a domain over an enumeration" in str(found)
    with pytest.raises(ConfigurationError, match="a domain over an enumeration"):
        agreed.plan()
