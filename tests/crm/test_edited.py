"""One option of a YAML file is replaced in its text, and nothing else changes."""

from __future__ import annotations

import pytest

from enerflo_sync.crm.edited import NotReplacedError, replaced

TEXT = """\
# Ours: \u00fc \U0001f600.
version: 1
tables:
  installs:
    crm_table: crm.installs   # the demo's
    key: {id: install_id}
    fields:
      flow: {enerflo: a, type: text}   # 41 of 60 rows agree
      block:
        enerflo: b   # stays behind it
        # and so does this: "#"
        type: 'te#xt'

      # of the next one
      short: c
      zoned: {enerflo: z, time_zone: "${ZONE}"}
      "odd: name": {enerflo: d, type: text}
      last:
        enerflo: e
        values:
          - x
    where: "a = 'b'"
  milestones:
    <<: &shared {updated_at: at}
    fields: &fields
      flow: {enerflo: a, type: text}
  steps:
    <<: *shared
    fields: *fields
"""
NEW = "{enerflo: n, type: text, values: {A: 'B, #}'}}"


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        (("key",), "{id: install_id}", NEW),
        (("fields", "flow"), "{enerflo: a, type: text}   # 41", f"{NEW}   # 41"),
        (
            ("fields", "block"),
            "enerflo: b   # stays behind it\n        # and so does this: \"#\"\n        type: 'te#xt'\n",
            f'{NEW}   # stays behind it   # and so does this: "#"\n',
        ),
        (("fields", "short"), "short: c", f"short: {NEW}"),
        (("fields", "odd: name"), "{enerflo: d, type: text}", NEW),
        (("fields", "last"), "enerflo: e\n        values:\n          - x\n", f"{NEW}\n"),
    ],
)
def test_the_value_alone_is_replaced(place: tuple[str, ...], old: str, new: str) -> None:
    assert TEXT.count(old) >= 1
    assert replaced(TEXT, ("tables", "installs", *place), NEW) == TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    "place",
    [
        ("milestones", "fields", "flow"),
        ("steps", "fields", "flow"),
        ("steps", "updated_at"),
        ("installs", "fields", "none"),
        ("installs", "fields", "zoned"),
        ("installs", "where", "none"),
    ],
)
def test_a_value_that_others_share_that_has_a_variable_or_is_not_there_is_left_alone(
    place: tuple[str, ...],
) -> None:
    with pytest.raises(NotReplacedError):
        replaced(TEXT, ("tables", *place), NEW)
