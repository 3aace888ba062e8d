"""Where the list tells less than the record itself, poll and webhook do not write each other's rows back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from enerflo_sandbox.exchange import Response
from tests.inbox.conftest import Inbox, NewInbox, answering, new_inbox, update_install

__all__ = ["new_inbox"]

ON_HOLD = 4
ROW = "xmin::text, status_id, observed_at, observed_by, content_hash, encode(raw_hash, 'hex')"


@pytest.fixture
def lean(new_inbox: NewInbox) -> Inbox:
    """A company whose list lacks the milestones, all of it in the mirror."""
    inbox = new_inbox(lean_lists=True)
    inbox.company.poll()
    return inbox


def told(inbox: Inbox, install_id: int, number: int = 0) -> dict[str, Any]:
    """Let a webhook about an install be taken in; return what became of the records."""
    inbox.later(1)
    inbox.drop(update_install(install_id, n=number))
    found: dict[str, Any] = inbox.ingest().resources["installs"]
    return found


def versions(inbox: Inbox, install_id: int) -> int:
    found: int = inbox.one(
        "select count(*) from enerflo.install_versions where install_id = :i", i=install_id
    )
    return found


def test_an_answer_that_says_the_same_touches_no_row_and_is_kept(lean: Inbox) -> None:
    one = lean.world.install_id(0)
    # The poll has read each install directly, and noted that on its row.
    before, kept = lean.install(one, ROW), versions(lean, one)
    tally = told(lean, one)
    assert (tally["applied"], tally["unchanged"]) == (0, 1)
    assert lean.install(one, ROW) == before
    assert versions(lean, one) == kept + 1
    told(lean, one, 1)
    assert versions(lean, one) == kept + 1
    assert lean.company.poll().resources["installs"]["applied"] == 0
    assert lean.states() == {"applied": 2}


def test_a_change_arrives_at_once_and_the_next_poll_confirms_it(lean: Inbox) -> None:
    one = lean.world.install_id(0)
    lean.world.set_status(one, ON_HOLD)
    assert told(lean, one)["applied"] == 1
    assert lean.install(one, "status_id", "observed_by") == (ON_HOLD, "webhook")
    # The row names the version that it was written from.
    said = lean.one(
        "select (v.raw->'all_milestones') is not null from enerflo.installs i"
        " join enerflo.install_versions v using (account, install_id, content_hash) where install_id = :i",
        i=one,
    )
    assert said is True
    assert lean.company.poll().resources["installs"]["applied"] == 1
    assert lean.company.poll().applied == 0
    before = lean.install(one, ROW)
    assert told(lean, one, 1)["applied"] == 0
    assert lean.install(one, ROW) == before
    lean.company.assert_mirror_is_true()


def test_a_record_that_is_back_to_what_the_list_last_said_is_seen(lean: Inbox) -> None:
    """The list's bytes are those of the last poll then, and the row is not what they say."""
    one = lean.world.install_id(0)
    real = lean.api._route
    was = lean.install(one, "status_id")[0]
    raw = lean.world.rendered(0).replace(b'"status_name":"', b'"status_name":"Was ')
    answering(lean, f"/api/v3/installs/{one}", Response(200, {"content-type": "application/json"}, raw))
    told(lean, one)
    assert lean.install(one, "status_name like 'Was %'") == (True,)
    lean.api._route = real  # type: ignore[method-assign]
    lean.later(1)
    lean.company.poll()
    # The list's version was replaced in the same second, so a direct read told which of them counts.
    assert lean.install(one, "status_id", "status_name like 'Was %'") == (was, False)
    lean.later(1)
    # This poll knows the list's own bytes again.
    lean.company.poll()
    assert lean.company.poll().applied == 0
    assert lean.install(one, "status_id", "status_name like 'Was %'") == (was, False)


def test_a_changed_milestone_arrives_at_once(lean: Inbox) -> None:
    one = lean.world.install_id(0)
    at = lean.clock.now() + timedelta(days=1)
    lean.world.set_milestone(one, 3904, {"completed": at})
    assert told(lean, one)["applied"] == 1
    assert lean.one(
        "select completed_at from enerflo.milestones where install_id = :i and milestone_id = 3904", i=one
    ) == (at)


def test_each_change_has_its_own_witnesses(lean: Inbox) -> None:
    one = lean.world.install_id(0)
    for number, status in enumerate((ON_HOLD, 3)):
        lean.later()
        lean.world.set_status(one, status)
        told(lean, one, number)
        lean.later()
        lean.company.poll()
    both = (
        "select count(*) from sync.witnesses where poll_seen_at is not null and webhook_seen_at is not null"
    )
    assert lean.one(both) == 2
    assert lean.one("select count(*) from sync.witnesses") == 2


def test_a_tombstone_is_lifted_by_the_record_itself(lean: Inbox) -> None:
    one = lean.world.install_id(0)
    real = lean.api._route
    answering(lean, f"/api/v3/installs/{one}", Response(404, {}, b"{}"))
    told(lean, one)
    assert lean.install(one, "deleted_at is not null") == (True,)
    lean.api._route = real  # type: ignore[method-assign]
    told(lean, one, 1)
    assert lean.install(one, "deleted_at") == (None,)
