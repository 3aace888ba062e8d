"""Exchange 1.1: leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from enerflo_sandbox.truth import CustomerRow
from tests.writes.push.conftest import LEAD, NewOutbox, Outbox

ADD = "/api/v1/partner/action/lead/add"
FIELDS = ("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip")
SENT = ("Jane", "Doe", "jane.doe@example.com", "5125550100", "12 Main St", "Boston", "MA", "02139")


def fields(customer: CustomerRow) -> tuple[Any, ...]:
    return tuple(getattr(customer, name) for name in FIELDS)


def linked(outbox: Outbox, lead_id: str = "L1") -> Any:
    return outbox.one("select enerflo_customer_id from crm.leads where lead_id = :l", l=lead_id)


def test_1_1_a_qualified_lead_is_delivered_with_its_deal_and_linked(outbox: Outbox) -> None:
    outbox.lead("L10", first_name="John")
    outbox.lead("L1")
    assert outbox.push().applied == 18
    customer = outbox.customer("L1")
    assert fields(customer) == SENT
    assert linked(outbox) == customer.customer_id
    assert outbox.one("select updated_at > '2026-03-02T08:00:00Z' from crm.leads where lead_id = 'L1'")
    assert outbox.received("POST")[1].body["lead"]["createDeal"] == 7
    assert len(outbox.world.customer(customer.customer_id).deals) == 1
    agreed = dict(outbox.rows("select field, value from sync.agreed where key->>'lead_id' = 'L1'"))
    assert (agreed["state"], agreed["mobile"]) == ("MA", "5125550100")
    assert (
        outbox.one("select observed_by from enerflo.customers where customer_id = :c", c=customer.customer_id)
        == "push"
    )
    outbox.push()
    assert len(outbox.received("POST")) == 2


FITTED = [
    ("zip", 2139, "02139"),
    ("zip", "501", "00501"),
    ("zip", "021391234", "02139-1234"),
    ("zip", "02139-1234", "02139-1234"),
    ("zip", 21391234, "02139-1234"),
    ("state", "ma", "MA"),
    ("state", " new  hampshire ", "NH"),
    ("state", "D.C.", "DC"),
    ("mobile", "512.555.0100 ext. 12", "5125550100"),
    ("mobile", "1-512-555-0100 x7", "5125550100"),
    ("mobile", None, None),
    ("email", None, None),
]
HOPELESS = [
    ("address", None),
    ("city", "  "),
    ("state", "Ontario"),
    ("state", "BY"),
    ("zip", "K1A 0B1"),
    ("zip", "12"),
    ("mobile", "+44 20 7946 0958"),
    ("mobile", "call Ann"),
    ("email", "jane.doe"),
]


def test_1_1_fields_are_made_to_fit(outbox: Outbox) -> None:
    for at, (field, value, _) in enumerate(FITTED):
        outbox.lead(f"L{at}", **{field: value})
    assert outbox.push().applied == 9 * len(FITTED)
    sent = [getattr(outbox.customer(f"L{at}"), field) for at, (field, _, _) in enumerate(FITTED)]
    assert sent == [expected for _, _, expected in FITTED]


def test_1_1_a_lead_that_does_not_fit_is_parked_by_the_names_of_its_fields(outbox: Outbox) -> None:
    for at, (field, value) in enumerate(HOPELESS):
        outbox.lead(f"L{at}", **{field: value})
    outbox.lead("good")
    report = outbox.push()
    assert (report.parked, report.applied) == (9 * len(HOPELESS), 9)
    for at, (field, value) in enumerate(HOPELESS):
        reason = outbox.reasons()[9 * at] or ""
        assert f"missing: {field})" in reason or f"unusable: {field})" in reason
        assert not (value or "").strip() or str(value) not in reason
    assert len(outbox.received("POST")) == 1


@pytest.mark.parametrize("fault", ["answer_lost", "html_page", "success_false", "504"])
def test_1_1_a_lost_answer_makes_one_lead_with_one_deal(outbox: Outbox, fault: str) -> None:
    outbox.lead("L1")
    outbox.fault(fault, ADD, method="POST")
    assert outbox.push().applied == 9
    assert linked(outbox) == outbox.customer("L1").customer_id
    assert len(outbox.received("POST")) == 1
    assert len(outbox.world.customer(linked(outbox)).deals) == 1


def test_1_1_one_that_was_sent_by_a_run_that_died_is_adopted(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.fault("answer_lost", ADD, method="POST")
    outbox.fault("500", "/api/v1/customers", 2, 99)
    assert outbox.push().waiting == 9
    assert outbox.states() == ["sent"] * 9
    outbox.no_faults()
    assert outbox.push().applied == 9
    assert set(outbox.reasons()) == {"found there"}
    assert len(outbox.received("POST")) == 1
    assert linked(outbox) == outbox.customer("L1").customer_id


def test_1_1_a_customer_of_that_key_is_linked_and_what_it_says_is_left(outbox: Outbox) -> None:
    values: dict[str, object] = {**dict(zip(FIELDS, SENT, strict=True)), "city": "Cambridge"}
    customer = outbox.world.add_lead(values, "L1")
    outbox.lead("L1")
    report = outbox.push()
    assert (report.applied, report.moved) == (8, 1)
    assert linked(outbox) == customer
    assert outbox.customer("L1").city == "Cambridge"
    assert outbox.received() == []


def test_1_1_a_customer_who_has_another_key_by_now_is_another_lead(outbox: Outbox) -> None:
    values: dict[str, object] = dict(zip(FIELDS, SENT, strict=True))
    customer = outbox.world.add_lead(values, "L1")
    outbox.company.poll()
    # Somebody gives the customer to another lead there, and the mirror does not know yet.
    outbox.world.edit_customer(customer, {"external_id": "L9"})
    outbox.lead("L1")
    assert outbox.push().applied == 9
    assert len(outbox.received("POST")) == 1
    assert linked(outbox) == outbox.customer("L1").customer_id != customer


def test_1_1_without_a_search_by_key_the_answers_id_serves(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.answering("GET", "/api/v1/customers", 422)
    assert outbox.push().applied == 9
    assert linked(outbox) == outbox.customer("L1").customer_id


def test_1_1_a_search_that_leaves_rows_out_sends_no_lead_again(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.fault("answer_lost", ADD, method="POST")
    outbox.fault("empty_page", "/api/v1/customers", 2, 99)
    assert outbox.push().waiting == 9
    assert outbox.push().waiting == 9
    assert len(outbox.received("POST")) == 1
    outbox.no_faults()
    assert outbox.push().applied == 9
    assert len(outbox.received("POST")) == 1
    assert linked(outbox) == outbox.customer("L1").customer_id


def test_1_1_a_search_that_is_refused_sends_no_lead_again(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.fault("answer_lost", ADD, method="POST")
    outbox.answering("GET", "/api/v1/customers", 422)
    assert outbox.push().waiting == 9
    outbox.company.clock.advance(4 * 86400)
    assert outbox.push().parked == 9
    assert "look for it there" in (outbox.reasons()[0] or "")
    assert len(outbox.received("POST")) == 1


def test_1_1_a_customer_is_found_among_many_that_its_key_is_a_part_of(outbox: Outbox) -> None:
    values: dict[str, object] = dict(zip(FIELDS, SENT, strict=True))
    customer = outbox.world.add_lead(values, "L1")
    for at in range(10, 70):
        outbox.world.add_lead({**values, "email": f"{at}@example.com"}, f"L{at}0")
        outbox.world.add_lead({**values, "email": f"a{at}@example.com"}, f"L1{at}")
    outbox.lead("L1")
    assert outbox.push().applied == 9
    assert linked(outbox) == customer
    assert outbox.received("POST") == []


@pytest.mark.parametrize("polled", [False, True])
def test_1_1_a_key_that_several_customers_have_is_a_question(outbox: Outbox, polled: bool) -> None:
    values: dict[str, object] = dict(zip(FIELDS, SENT, strict=True))
    outbox.world.add_lead(values, "L1")
    other = outbox.world.add_lead({**values, "email": "other@example.com"}, "L2")
    outbox.world.edit_customer(other, {"external_id": "L1"})
    if polled:
        outbox.company.poll()
        outbox.answering("GET", "/api/v1/customers", 422)
    outbox.lead("L1")
    assert outbox.push().parked == 9
    assert set(outbox.reasons()) == {
        "several customers of Enerflo have its key: leave the key to one of them."
    }
    assert linked(outbox) is None
    assert outbox.received("POST") == []


SPELLED = [(" L1 ", str.strip), ("l1", str.upper), ("0017", lambda key: key.lstrip("0"))]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize(("key", "spells"), SPELLED, ids=["blanks", "case", "zeros"])
def test_1_1_a_key_that_enerflo_spells_otherwise_is_the_leads(
    outbox: Outbox, key: str, spells: Callable[[str], str], lost: bool
) -> None:
    book = outbox.world.customers
    by_key, add = book.by_key, book.add_lead
    book.by_key = lambda key: by_key(spells(key))  # type: ignore[method-assign]
    book.add_lead = lambda at, key: add(at, spells(key or ""))  # type: ignore[method-assign]
    outbox.lead(key)
    if lost:
        outbox.fault("answer_lost", ADD, method="POST")
    assert outbox.push().applied == 9
    customer = outbox.customer(spells(key))
    assert linked(outbox, key) == customer.customer_id
    outbox.lead_change(key, customer, "city", "Cambridge")
    assert outbox.push().applied == 1
    assert outbox.customer(spells(key)).city == "Cambridge"


def test_1_1_a_customer_whose_key_is_another_spelling_of_a_new_leads_is_a_question(outbox: Outbox) -> None:
    values: dict[str, object] = dict(zip(FIELDS, SENT, strict=True))
    outbox.world.add_lead(values, "l1")
    outbox.lead("L1")
    assert outbox.push().parked == 9
    assert "has its key in another spelling" in (outbox.reasons()[0] or "")
    assert linked(outbox) is None
    assert outbox.received("POST") == []


def test_1_1_what_became_of_the_crms_row_is_looked_at_first(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.lead("L2")
    outbox.sql("delete from crm.leads where lead_id = 'L1'")
    outbox.sql("update crm.leads set enerflo_customer_id = 5 where lead_id = 'L2'")
    assert outbox.push().moved == 18
    assert outbox.received() == []


def test_1_1_the_crm_that_does_not_take_the_id_parks_the_lead(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.lead("L2")
    outbox.sql(
        "alter table crm.leads add constraint small check (lead_id <> 'L1' or enerflo_customer_id < 5)"
    )
    outbox.push()
    assert outbox.states() == ["parked"] * 9 + ["applied"] * 9


# -- what has changed of one that is there ----------------------------------------------------------------


def test_1_1_a_change_of_our_own_lead_is_the_same_call_again(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.push()
    outbox.lead_change("L1", outbox.customer("L1"), "city", "Cambridge")
    outbox.lead_change("L1", outbox.customer("L1"), "state", "New York")
    assert outbox.push().applied == 2
    after = outbox.customer("L1")
    assert (after.city, after.state, after.email) == ("Cambridge", "NY", LEAD["email"])
    last = outbox.received()[-1]
    assert (last.method, last.path) == ("POST", ADD)
    assert "createDeal" not in last.body["lead"]
    assert last.body["lead"]["integration_record_id"] == "L1"


def test_1_1_a_change_of_our_own_lead_does_not_reach_another_customer_of_its_key(outbox: Outbox) -> None:
    outbox.lead("L1")
    outbox.push()
    lead = outbox.customer("L1")
    other = outbox.world.add_lead({**dict(zip(FIELDS, SENT, strict=True)), "city": "Salem"}, "L2")
    outbox.world.edit_customer(other, {"external_id": "L1"})
    outbox.company.poll()
    outbox.lead_change("L1", lead, "city", "Cambridge")
    outbox.push()
    assert outbox.world.customer(other).city == "Salem"
    assert [one.path for one in outbox.received()[1:]] == [f"/api/v3/customers/{lead.customer_id}"]


def converted(outbox: Outbox) -> CustomerRow:
    install = outbox.install()
    return next(row for row in outbox.world.truth.customers() if row.customer_id == install.customer_id)


def test_1_1_a_change_of_any_other_customer_sends_that_field_only(outbox: Outbox) -> None:
    customer = converted(outbox)
    outbox.lead_change("X", customer, "city", "Cambridge")
    outbox.lead_change("X", customer, "enerflo_customer_id", 5)
    report = outbox.push()
    assert (report.applied, report.refused) == (1, 1)
    (one,) = outbox.received()
    assert (one.method, one.path, one.body) == (
        "PUT",
        f"/api/v3/customers/{customer.customer_id}",
        {"city": "Cambridge"},
    )
    assert (
        outbox.one("select city from enerflo.customers where customer_id = :c", c=customer.customer_id)
        == "Cambridge"
    )


def test_1_1_a_change_of_a_customer_without_a_key_makes_no_other_customer(outbox: Outbox) -> None:
    converted_ones = {install.customer_id for install in outbox.world.truth.installs()}
    customers = list(outbox.world.truth.customers())
    customer = next(
        one for one in customers if one.integration_record_id is None and one.customer_id in converted_ones
    )
    outbox.lead_change("L1", customer, "city", "Little Compton")
    assert outbox.push().applied == 1
    (one,) = outbox.received()
    assert (one.method, one.path) == ("PUT", f"/api/v3/customers/{customer.customer_id}")
    assert len(list(outbox.world.truth.customers())) == len(customers)


def test_1_1_an_unconverted_lead_of_somebody_else_is_parked(outbox: Outbox) -> None:
    customer_id = outbox.world.add_lead(dict(zip(FIELDS, SENT, strict=True)), "other")
    outbox.lead_change("L1", outbox.customer("other"), "city", "Cambridge")
    outbox.push()
    assert outbox.states() == ["parked"]
    assert "still an unconverted lead" in (outbox.reasons()[0] or "")
    assert outbox.world.customer(customer_id).city == "Boston"


def test_1_1_moved_there_already_unusable_and_gone(outbox: Outbox) -> None:
    customer = converted(outbox)
    outbox.lead_change("X", customer, "city", "Cambridge", before="Elsewhere")
    outbox.lead_change("X", customer, "state", customer.state.lower(), before="ZZ")
    outbox.lead_change("X", customer, "email", "nowhere")
    gone = customer._replace(customer_id=999_999_999)
    outbox.lead_change("Y", gone, "city", "Cambridge")
    outbox.push()
    assert outbox.states() == ["moved", "applied", "parked", "parked"]
    assert outbox.received() == []


@pytest.mark.parametrize("fault", ["answer_lost", "504"])
def test_1_1_a_lost_answer_to_a_change_is_settled_by_reading(outbox: Outbox, fault: str) -> None:
    customer = converted(outbox)
    outbox.lead_change("X", customer, "email", "new@example.com")
    outbox.fault(fault, f"/api/v3/customers/{customer.customer_id}", method="PUT")
    assert outbox.push().applied == 1
    assert len(outbox.received()) == 1


# -- appointments -----------------------------------------------------------------------------------------


@pytest.fixture
def scheduling(new_outbox: NewOutbox) -> Outbox:
    return new_outbox(writes={"appointment": {"type": 3, "start": "appointment_at", "minutes": 90}})


@pytest.mark.parametrize("fault", [None, "504", "answer_lost", "success_false"])
def test_1_1_a_lead_with_a_time_gets_one_appointment(scheduling: Outbox, fault: str | None) -> None:
    scheduling.lead("L1", appointment="2026-03-05T10:00:00-05:00")
    scheduling.lead("L2")
    if fault is not None:
        scheduling.fault(fault, "/api/v1/appointments", method="POST")
    assert scheduling.push().applied == 19
    (one,) = scheduling.world.appointments
    assert one.customer_id == scheduling.customer("L1").customer_id
    posts = [one.body for one in scheduling.received("POST") if one.path == "/api/v1/appointments"]
    assert posts == [
        {
            "customer": one.customer_id,
            "appointment_type": 3,
            "start": "2026-03-05 15:00:00",
            "end": "2026-03-05 16:30:00",
        }
    ]


def test_1_1_an_appointment_that_fails_parks_alone(scheduling: Outbox) -> None:
    scheduling.lead("L1", appointment="2026-03-05T10:00:00-05:00")
    scheduling.lead("L2", appointment="soon")
    scheduling.answering("POST", "/api/v1/appointments", 422)
    report = scheduling.push()
    assert (report.applied, report.parked) == (18, 2)
    assert linked(scheduling) == scheduling.customer("L1").customer_id


def test_1_1_an_appointment_whose_run_died_is_looked_for(scheduling: Outbox) -> None:
    scheduling.lead("L1", appointment="2026-03-05T10:00:00-05:00")
    scheduling.fault("answer_lost", "/api/v1/appointments", method="POST")
    scheduling.fault("500", "/api/v3/customers/*/appointments", 2, 99)
    assert scheduling.push().waiting == 1
    scheduling.no_faults()
    assert scheduling.push().applied == 1
    assert len(scheduling.world.appointments) == 1


def test_1_1_an_appointment_that_was_accepted_and_moved_there_since_is_not_made_again(
    scheduling: Outbox,
) -> None:
    scheduling.lead("L1", appointment="2026-03-05T10:00:00-05:00")
    scheduling.fault("500", "/api/v3/customers/*/appointments", 2, 99)
    assert scheduling.push().waiting == 1
    scheduling.no_faults()
    (made,) = scheduling.world.appointments
    scheduling.world.appointments[:] = [replace(made, start=made.start + 86_400, end=made.end + 86_400)]
    assert scheduling.push().parked == 1
    assert "accepted the appointment" in str(scheduling.reasons()[-1])
    assert len(scheduling.world.appointments) == 1


def test_1_1_where_appointments_come_in_pages_none_is_made_beside_one_that_may_be_there(
    scheduling: Outbox,
) -> None:
    scheduling.lead("L1", appointment="2026-03-05T10:00:00-05:00")
    scheduling.fault("answer_lost", "/api/v1/appointments", method="POST")
    scheduling.fault("500", "/api/v3/customers/*/appointments", 2, 99)
    assert scheduling.push().waiting == 1
    scheduling.no_faults()
    path = f"/api/v3/customers/{scheduling.customer('L1').customer_id}/appointments"
    scheduling.answering("GET", path, 200, b'{"dataCount": 30, "data": []}')
    assert scheduling.push().parked == 1
    assert "says that there are more" in str(scheduling.reasons()[-1])
    assert len(scheduling.world.appointments) == 1


def test_1_1_no_lead_no_appointment(scheduling: Outbox) -> None:
    scheduling.lead("L1", appointment="2026-03-05T10:00:00-05:00", city=None)
    assert scheduling.push().parked == 10
    assert scheduling.world.appointments == []
