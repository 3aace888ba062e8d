"""The dashboard and the alert rules name metrics that are sent, and every metric that is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from enerflo_sync.receiver.metrics import Metrics
from enerflo_sync.receiver.outcomes import PostOutcome

from tests import airflow_environment  # isort: skip

ROOT = airflow_environment.ROOT
MONITORING = ROOT / "docs" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())
# Prometheus's own.
NOT_OURS = {"up"}
_NAME = re.compile(r"\b(enerflo_\w+|up)\b(?=[\[{) ]|$)")


def ours() -> set[str]:
    """Return the jobs' metrics as statsd_exporter names them with our mapping."""
    from enerflo_airflow.metrics import METRICS, PREFIX

    (mapping,) = yaml.safe_load((MONITORING / "statsd-mapping.yaml").read_text())["mappings"]
    pattern = re.compile(mapping["match"].replace(".", r"\.").replace("*", "([^.]*)"))
    found = set()
    for name in METRICS:
        match = pattern.fullmatch(f"airflow.{PREFIX}.{name}.west")
        assert match, name
        found.add(match.expand(re.sub(r"\$\{?(\d)\}?", r"\\\1", mapping["name"])))
        assert match.expand(mapping["labels"]["account"].replace("$", "\\")) == "west"
    return found


def of_the_receiver() -> set[str]:
    """Return the receiver's metrics, as its /metrics has them."""
    counted = Metrics(["default"])
    counted.add("default", PostOutcome.STORED, 10, 0.1)
    lines = counted.rendered({"default": 5}).splitlines()
    names = {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}
    return {name for name in names if not name.endswith("_created")}


def rules() -> Iterator[dict[str, Any]]:
    for group in RULES["groups"]:
        yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *shown]


def named(expression: str) -> set[str]:
    plain = re.sub(r"\{[^}]*\}", "", expression)
    return set(_NAME.findall(re.sub(r"\b(by|without) \([^)]*\)", "", plain)))


def test_every_metric_that_is_watched_is_sent_and_every_metric_that_is_sent_is_watched() -> None:
    watched = set().union(*map(named, expressions()))
    sent = ours() | of_the_receiver()
    assert watched - sent - NOT_OURS == set()
    # A histogram's parts are watched by one of them.
    whole = {"enerflo_receiver_seconds_count", "enerflo_receiver_seconds_sum"}
    assert sent - watched - whole == set()
    assert len(sent) > 50


def test_the_test_sees_a_name_that_nobody_sends() -> None:
    assert named("time() - enerflo_sync_pole_ended{account=~'$account'} > 5") == {"enerflo_sync_pole_ended"}
    assert named("sum by (le) (rate(enerflo_receiver_seconds_bucket[15m]))") == {
        "enerflo_receiver_seconds_bucket"
    }


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_prometheus_reads_the_expression(expression: str) -> None:
    assert promql_parser.parse(expression)


def test_a_rule_is_well_formed_and_leads_to_the_runbook() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) > 15
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert re.fullmatch(r"Enerflo\w+", rule["alert"])
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "5m")), rule
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert re.fullmatch(r"docs/runbook\.md#\w+", rule["annotations"]["runbook"])
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert labels <= {"account", "outcome"}, rule
        # A label that an aggregation drops would be empty in the message.
        assert not labels or not re.search(r"\b(by|absent)\b", rule["expr"]), rule


def test_a_rule_watches_every_outcome_that_is_not_an_event_in_the_drop() -> None:
    watched = {one for rule in rules() for one in re.findall(r'outcome=~?"([^"]*)"', rule["expr"])}
    # The sender hung up: the receiver can do nothing, and the next poll brings the change.
    well = {PostOutcome.STORED, PostOutcome.ABORTED}
    assert {name for one in watched for name in one.split("|")} == {str(o) for o in set(PostOutcome) - well}


def test_outcomes_that_a_rule_or_panel_names_are_outcomes() -> None:
    asked = {one for text in expressions() for one in re.findall(r'outcome=~?"([^"]*)"', text)}
    assert asked
    assert {name for one in asked for name in one.split("|")} <= {str(outcome) for outcome in PostOutcome}


def test_a_panel_has_a_title_a_description_a_place_and_a_number_of_its_own() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every) > 20
    taken: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "account"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"] for panel in panels()])))
    assert used <= variables
    assert Path(MONITORING / "grafana.json").stat().st_size < 100_000
