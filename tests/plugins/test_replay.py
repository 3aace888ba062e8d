"""What the form of the replay DAG stands for."""

from __future__ import annotations

from typing import Any

import pytest
from enerflo_airflow.replay import Action, chosen_items

from enerflo_sync.errors import ConfigurationError


@pytest.mark.parametrize(
    ("selection", "value", "chosen"),
    [
        ("fingerprint", " 12ab ", {"fingerprint": "12ab"}),
        ("event", "new_thing", {"event": "new_thing"}),
        ("items", "a1, b2\nc3", {"items": ("a1", "b2", "c3")}),
        ("everything", None, {"everything": True}),
    ],
)
def test_a_selection_is_handed_on(selection: str, value: str | None, chosen: dict[str, Any]) -> None:
    assert chosen_items(selection, value, Action.REPLAY) == chosen


@pytest.mark.parametrize(
    ("selection", "value", "action", "what"),
    [
        ("fingerprint", "", Action.DRY_RUN, "the selection fingerprint has no value"),
        ("items", None, Action.REPLAY, "the selection items has no value"),
        ("everything", "12ab", Action.REPLAY, "a value stands beside the selection everything"),
        ("event", "new_thing", Action.DISMISS, "items are not dismissed by event"),
    ],
)
def test_a_form_that_is_not_clear_is_refused_with_the_next_step(
    selection: str, value: str | None, action: Action, what: str
) -> None:
    with pytest.raises(ConfigurationError, match=what) as error:
        chosen_items(selection, value, action)
    assert error.value.next_step
