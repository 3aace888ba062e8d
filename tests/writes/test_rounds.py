"""Two systems that each take the other's word: what was carried once is silence in every later round.

The CRM writes what it is given in its own spelling, and so does Enerflo.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.kept import brought

ROUNDS = 20

_SPELLING = """
create function crm.spell_status() returns trigger language plpgsql as $$
begin new.status := upper(btrim(new.status)) || '  '; return new; end $$;
create trigger spell before insert or update of status on crm.installs for each row execute function crm.spell_status();
create function crm.spell_lead() returns trigger language plpgsql as $$
begin
    new.mobile := regexp_replace(regexp_replace(new.mobile, '\\D', '', 'g'), '^1?(...)(...)(....)$', '(\\1) \\2-\\3');
    return new;
end $$;
create trigger spell before insert or update of mobile on crm.leads for each row execute function crm.spell_lead();
create function crm.spell_name() returns trigger language plpgsql as $$
begin
    new.last_name := upper(btrim(new.last_name)) || ' ';
    new.state := lower(new.state);
    return new;
end $$;
create trigger spell_name before insert or update of last_name, state on crm.leads
    for each row execute function crm.spell_name();
create function crm.spell_note() returns trigger language plpgsql as $$
begin new.body := new.body || E' \\n'; return new; end $$;
create trigger spell before insert on crm.notes for each row execute function crm.spell_note();
"""
_ROWS = "select md5(string_agg(xmin::text || t::text, ',' order by t::text)) from crm.{} t"


@pytest.fixture(params=["shipped", "leads by the newest"])
def spelling(desk: Desk, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """An account whose two sides agree, with a CRM that has its own way to write names, phones and texts."""
    newest = [("source_of_truth: crm", "source_of_truth: newest")]
    brought(desk, _agrees, *(newest if request.param != "shipped" else []))
    desk.sql(_SPELLING)
    yield desk
    for name in ("status", "lead", "name", "note"):
        desk.sql(f"drop function crm.spell_{name} cascade")


def _agrees(desk: Desk, *edits: tuple[str, str]) -> None:
    desk.switched_on("both", *edits)
    desk.carried()


def written(desk: Desk) -> dict[str, object]:
    """Return what tells that either side was written."""
    tables = {name: desk.one(_ROWS.format(name)) for name in ("installs", "milestones", "notes", "leads")}
    return {**tables, "received": len(desk.world.received)}


def a_round(desk: Desk) -> int:
    """Poll, plan and apply; return how many changes the plans had."""
    run_poll(desk.context)
    plans = run_plan(desk.context)
    for plan in plans:
        if plan.change_count:
            run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    return sum(plan.change_count for plan in plans)


def some_installs(desk: Desk) -> list[int]:
    rows = desk.world.truth.installs()
    return [row.install_id for row in rows if row.status_name == "In progress"]


def test_twenty_rounds_write_nothing_after_the_edit_was_carried(spelling: Desk) -> None:
    desk = spelling
    one, other, third, *_ = some_installs(desk)
    # Edits in the CRM, which its triggers spell at once.
    desk.sql(
        "update crm.installs set status = 'on hold', updated_at = now() where enerflo_install_id = :i", i=one
    )
    desk.sql(
        "update crm.milestones set due_at = '2026-05-06 07:08:09.5+00', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = 3903",
        i=one,
    )
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values ('N1', :i, 'Ann', 'Call first', now()), ('N2', :i, 'Ann', 'Call first', now())",
        i=one,
    )
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jane', 'Doe', 'Jane@Example.com', '+1 512-555-0100', '12 Main St', 'Boston ',"
        " 'Massachusetts', '2139', 'qualified', now())"
    )
    # Edits at Enerflo.
    desk.world.set_status(other, 323)
    desk.world.add_note(other, "Gate code 12")
    desk.world.edit_customer(desk.world.truth.install(third).customer_id, {"mobile": "5125550199"})  # type: ignore[union-attr]
    carried = a_round(desk)
    assert carried > 0
    # What Enerflo was given comes back with the next poll.
    assert a_round(desk) == 0
    quiet = written(desk)
    for _ in range(ROUNDS - 2):
        assert a_round(desk) == 0
    assert written(desk) == quiet
    assert desk.crm("installs", enerflo_install_id=other)["status"] == "PENDING KCA  "
    assert len([note for note in desk.world.truth.notes() if "Call first" in note.body]) == 2


def test_a_later_edit_of_what_is_spelt_otherwise_is_carried_and_then_silence(spelling: Desk) -> None:
    desk = spelling
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jane', 'Doe', '5125550100', '12 Main St', 'Boston', 'ma', '02139',"
        " 'qualified', now())"
    )
    a_round(desk)
    for mobile, kept in (("512.555.0101", "5125550101"), ("(512) 555-0102", "5125550102")):
        desk.sql("update crm.leads set mobile = :m, updated_at = now() where lead_id = 'L1'", m=mobile)
        assert a_round(desk) == 1
        assert a_round(desk) == 0
        (customer,) = [row for row in desk.world.truth.customers() if row.integration_record_id == "L1"]
        assert customer.mobile == kept


@pytest.mark.parametrize("later", ["crm", "enerflo"])
def test_edits_on_both_sides_at_once_one_wins_the_other_is_in_the_ledger_then_silence(
    spelling: Desk, later: str
) -> None:
    desk = spelling
    install = some_installs(desk)[0]
    desk.world.set_status(install, 323)
    run_poll(desk.context)
    desk.sql(
        "update crm.installs set status = 'Cancelled', updated_at = now() + :late * interval '1 minute'"
        " where enerflo_install_id = :i",
        i=install,
        late=5 if later == "crm" else -5,
    )
    assert a_round(desk) == 1
    winner, loser = ("Cancelled", "Pending KCA") if later == "crm" else ("Pending KCA", "Cancelled")
    (row,) = desk.ledger(table_name="installs", field="status", key={"enerflo_install_id": install})
    assert row["decision"] == "applied"
    assert str(row["losing_value"]).strip().casefold() == loser.casefold()
    found = desk.world.truth.install(install)
    assert found is not None
    assert found.status_name == winner
    assert desk.crm("installs", enerflo_install_id=install)["status"].strip() == winner.upper()
    assert a_round(desk) == 0
    quiet = written(desk)
    for _ in range(2):
        assert a_round(desk) == 0
    assert written(desk) == quiet
