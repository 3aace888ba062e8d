"""Every distinct content of a resource that names a table of versions is kept once, as its row names it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.mirror.encoding import VERSION_TYPES, version_columns
from enerflo_sync.resources.registry import ALL
from enerflo_sync.resources.resource import Resource
from tests.mirror.test_intake import rows, take

KEPT = [one for one in ALL if one.versions is not None]
LINK = "https://files.example.com/a.pdf"


def record(resource: Resource, **said: Any) -> bytes:
    """A record that says no more than it has to, and ``said``."""
    known = {name: [] for part in resource.parts for name in part.fields[:1]}
    return json.dumps({resource.id_field: 5, **known, **said}).encode()


def versions(warehouse: sa.Engine, resource: Resource) -> set[tuple[bool, str | None]]:
    """Of each version whether the row names it, and what it says in the field ``said``."""
    assert resource.versions is not None
    found = rows(
        warehouse,
        f"select v.content_hash = t.content_hash, v.raw ->> 'said' from {resource.versions.fullname} v"
        f" left join {resource.table.fullname} t using (account, {resource.id_column})",
    )
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("resource", KEPT, ids=lambda one: one.name)
def test_each_content_is_kept_once_and_the_row_names_the_present_one(
    warehouse: sa.Engine, resource: Resource
) -> None:
    take(warehouse, resource, 0, record(resource, said="one"))
    assert versions(warehouse, resource) == {(True, "one")}
    take(warehouse, resource, 1, record(resource, said="two"))
    assert versions(warehouse, resource) == {(False, "one"), (True, "two")}
    # What Enerflo said before comes back.
    take(warehouse, resource, 2, record(resource, said="one"))
    assert versions(warehouse, resource) == {(True, "one"), (False, "two")}
    seen = rows(warehouse, f"select observed_by, evidence from {resource.versions} order by evidence")
    assert seen == [("poll", "poll:0"), ("poll", "poll:1")]


@pytest.mark.parametrize("resource", KEPT, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "again",
    [
        {"said": "one", "link": f"{LINK}?X-Amz-Signature=b&X-Amz-Expires=60", "size": 1.5},
        {"said": "one", "link": f"{LINK}?X-Amz-Signature=a", "logged_in_user": {"id": 9}, "size": 1.5},
        {"size": 1.50, "link": f"{LINK}?X-Amz-Signature=a", "said": "one"},
    ],
    ids=["another signature", "another user", "another order"],
)
def test_what_differs_in_every_answer_is_no_new_version(
    warehouse: sa.Engine, resource: Resource, again: dict[str, Any]
) -> None:
    user = {"logged_in_user": {"id": 8}} if "logged_in_user" in again else {}
    first = {"said": "one", "link": f"{LINK}?X-Amz-Signature=a", **user, "size": 1.5}
    take(warehouse, resource, 0, record(resource, **first))
    batch = take(warehouse, resource, 1, record(resource, **again))
    assert (batch.tally.unchanged, batch.tally.applied) == (1, 0)
    assert versions(warehouse, resource) == {(True, "one")}
    assert rows(warehouse, f"select raw ->> 'link' from {resource.versions}") == [(LINK,)]


@pytest.mark.parametrize("resource", KEPT, ids=lambda one: one.name)
def test_a_nul_is_left_out_of_a_version_and_told(warehouse: sa.Engine, resource: Resource) -> None:
    batch = take(warehouse, resource, 0, record(resource, said="o\0ne"))
    assert batch.tally.reasons["notice"]["nul_removed"] == 1
    assert versions(warehouse, resource) == {(True, "one")}
    assert take(warehouse, resource, 1, record(resource, said="o\0ne")).tally.unchanged == 1


@pytest.mark.parametrize("resource", KEPT, ids=lambda one: one.name)
def test_what_is_put_aside_leaves_no_version(warehouse: sa.Engine, resource: Resource) -> None:
    two_ids = record(resource, said="one")[:-1] + f', "{resource.id_field}": 6}}'.encode()
    assert take(warehouse, resource, 0, two_ids).tally.quarantined == 1
    assert versions(warehouse, resource) == set()
    take(warehouse, resource, 2, record(resource, said="one"))
    assert versions(warehouse, resource) == {(True, "one")}


@pytest.mark.parametrize("resource", KEPT, ids=lambda one: one.name)
def test_a_version_is_sent_as_its_table_has_it(resource: Resource) -> None:
    assert resource.versions is not None
    kinds = {"text": sa.Text, "bigint": sa.BigInteger, "timestamptz": sa.DateTime, "jsonb": sa.JSON}
    assert version_columns(resource) == tuple(resource.versions.c.keys())
    assert all(
        isinstance(column.type, kinds[kind])
        for column, kind in zip(resource.versions.columns, VERSION_TYPES, strict=True)
    )
