"""Mistakes in the routes are said with file, line and what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.crm.routes import NotifyEvent
from tests.notify.conftest import config_with


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        (
            "{ops: {events: [projekt_submitted], http: {connection: c}}}",
            "found the text 'projekt_submitted', expected one of project_submitted, project_received,",
        ),
        ("{ops: {events: [plan_wating], http: {connection: c}}}", "did you mean plan_waiting?"),
        ("{ops: {events: [plan_waiting]}}", "expected either email or http, and not both"),
        (
            "{ops: {email: {to: [a@b.c]}, http: {connection: c}}}",
            "notify.routes.ops: found a map of options, expected either email or http, and not both",
        ),
        ("{ops: {email: {to: [nobody]}}}", "found the text 'nobody', expected an e-mail address, name@host"),
        ("{ops: {email: {to: []}}}", "found nothing in it, expected at least one entry"),
        ("{ops: {level: loud, http: {connection: c}}}", "expected one of info, warning, error"),
        ("{ops: {accounts: [defualt], http: {connection: c}}}", "did you mean default?"),
        (
            '{ops: {http: {connection: c, body: {text: "{subjekt}"}}}}',
            "expected one of the names {event}, {level}, {account}, {subject}, {text}, {link}, {count}, {state}, and not",
        ),
        ("{ops: {personal_data: [names], http: {connection: c}}}", "did you mean name?"),
        ("{ops: {htpp: {connection: c}}}", "found the unknown option htpp"),
    ],
)
def test_a_mistake_in_a_route_is_said(routes: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigurationError) as caught:
        config_with(tmp_path, f"{{routes: {routes}}}")
    line = len((tmp_path / "sync.yaml").read_text().splitlines())
    assert f"sync.yaml:{line}: notify.routes.ops" in str(caught.value)
    assert said in str(caught.value)


def test_without_routes_nobody_is_told_anything(tmp_path: Path) -> None:
    assert config_with(tmp_path, "{}").notify.routes_for("default") == {}


def test_a_route_without_events_gets_all(tmp_path: Path) -> None:
    config = config_with(tmp_path, "{routes: {all: {http: {connection: c}}}}")
    assert config.notify.routes["all"].events == list(NotifyEvent)
