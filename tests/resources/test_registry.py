"""What the declarations say agrees with itself, with the warehouse, and with those who read them."""

from __future__ import annotations

import re
from pathlib import Path

from enerflo_sync.backfill.request import ALL_PARTS, Part
from enerflo_sync.inbox.kinds import KINDS, UNASKED
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.registry import ALL, BY_NAME, READS, USUAL

ENGINE = Path(__file__).parents[2] / "include" / "enerflo_sync"


def test_the_published_names_are_those_of_the_declarations() -> None:
    usual = ["installs", "statuses", "customers", "change_orders", "notes"]
    assert list(USUAL) == usual
    assert list(map(str, PollResource)) == [*usual, "appointments"]
    assert {str(part) for part in ALL_PARTS} == {"installs", "notes", "change_orders"}
    assert {str(part) for part in Part} - {str(part) for part in ALL_PARTS} == {"appointments"}
    assert list(map(str, RebuildTable)) == [
        *("installs", "milestones", "appointments", "submissions", "customers", "change_orders"),
    ]
    assert {"deals", "installs", "customers", "notes_of", "change_orders_of"} <= set(READS)


def test_installs_are_polled_first_and_every_other_resource_has_one_way_to_be_read() -> None:
    assert ALL[0] is INSTALLS
    for one in ALL:
        assert (one.listing is None) is (one.read_all is not None), one.name
        assert one.swept is None or (one.listing is not None and one.listing.created_after), one.name


def test_every_event_asks_for_a_declared_read_and_has_one_name() -> None:
    kinds = [kind for one in ALL for kind in one.events]
    assert len({kind.name for kind in kinds}) == len(kinds)
    assert [kind.name for kind in kinds if not {kind.subject, *kind.also} <= set(READS)] == []
    assert {kind.name for kind in BY_NAME["appointments"].events} == UNASKED
    assert all(kind.ignored for kind in KINDS.values() if kind not in kinds)


def test_what_a_declaration_names_is_there() -> None:
    installs = INSTALLS.table.c
    for one in ALL:
        if one.backfilled_by is not None:
            assert one.backfilled_by in installs, one.name
            assert one.backfilled_by in one.parts[0].columns, one.name
        for read in one.reads:
            owner = one if read.owner is None else BY_NAME[read.owner]
            assert (read.column or owner.id_column) in owner.table.c, read.subject
        if one.versions is not None:
            wanted = ("account", one.id_column, "content_hash")
            assert tuple(one.versions.primary_key.columns.keys()) == wanted, one.name
            assert "content_hash" in one.table.c, one.name
            # The catalogue makes a record of an object of such a row.
            assert all(part.fields or part.items is None for part in one.parts[1:]), one.name
        if one.witnessed is not None:
            assert set(one.witnessed.changed_at) <= set(one.table.c.keys()), one.name
            assert {one.witnessed.created, one.witnessed.changed} - {None} <= set(KINDS), one.name


def test_nobody_lists_the_resources_beside_the_registry() -> None:
    """Three of the names in quotes within three lines are a list of resources."""
    names = "|".join(one.name for one in ALL)
    found = []
    for path in sorted(ENGINE.rglob("*.py")):
        if "migrations" in path.parts or "resources" in path.parts:
            continue
        lines = path.read_text().splitlines()
        for number in range(len(lines)):
            some = set(re.findall(rf"[\"']({names})[\"']", "\n".join(lines[number : number + 3])))
            if len(some) >= 3:
                found.append(f"{path.relative_to(ENGINE)}:{number + 1}")
    # The tables of a CRM, and which columns hold personal data, are no lists of what is read.
    assert [place for place in found if not place.startswith(("crm/", "masking.py"))] == []
