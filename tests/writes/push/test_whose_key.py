"""A key that answers for another company: nothing is sent to it, and no change ends by what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enerflo_sync.mirror.company import AnotherCompanyError
from tests.writes.push.conftest import Outbox


def _note(outbox: Outbox) -> None:
    outbox.note("N1", outbox.install().install_id, "Call first")


def _lead(outbox: Outbox) -> None:
    outbox.lead("L1")


def _lead_change(outbox: Outbox) -> None:
    customer = next(iter(outbox.world.truth.customers()))
    outbox.lead_change("L1", customer, "city", "Salem")


def _status(outbox: Outbox) -> None:
    outbox.status(outbox.install(), "On Hold")


def _milestone(outbox: Outbox) -> None:
    outbox.milestone(outbox.milestones(outbox.install().install_id)[0], "due_at", "2026-03-05T10:00:00Z")


OTHER_COMPANY = (("other_company", "/api/*"),)
# As where the key of a new company is entered for an account that has another one.
WITHOUT_INSTALLS = (("empty_page", "/api/v3/installs"), ("404", "/api/v3/installs/[0-9]*"))


@pytest.mark.parametrize("faults", [OTHER_COMPANY, WITHOUT_INSTALLS], ids=["with installs", "without"])
@pytest.mark.parametrize("planned", [_note, _lead, _lead_change, _status, _milestone])
def test_nothing_is_sent_to_another_company_and_every_change_waits(
    outbox: Outbox, planned: Callable[[Outbox], None], faults: tuple[tuple[str, str], ...]
) -> None:
    planned(outbox)
    states = outbox.states()
    for kind, path in faults:
        outbox.fault(kind, path, 1, 9999)
    with pytest.raises(AnotherCompanyError):
        outbox.push()
    assert outbox.received() == []
    assert outbox.states() == states
    outbox.no_faults()
    assert outbox.push().applied == len(states)


def test_a_list_that_comes_empty_is_no_other_company_where_an_install_is_known(outbox: Outbox) -> None:
    _lead(outbox)
    outbox.fault("empty_page", "/api/v3/installs", 1, 9999)
    assert outbox.push().applied == len(outbox.states())
