"""The section ``retention``: its defaults, its two names of one option, and bounds that are too short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enerflo_sync.crm.kept_days import differences_days, option_of
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.crm.retention import Kept
from tests.retention.conftest import SHIPPED

APPOINTMENT = ("  # appointment: {type: 1", "  appointment: {type: 1")


def load(folder: Path, *edits: tuple[str, str], retention: str = "{}"):  # type: ignore[no-untyped-def]
    text = re.sub(r"\nretention:\n(  .*\n)+", f"\nretention: {retention}\n", SHIPPED.read_text())
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "sync.yaml"
    path.write_text(text)
    return load_config(path, {})


def refusal(folder: Path, *edits: tuple[str, str], retention: str) -> str:
    with pytest.raises(InvalidConfigurationError) as caught:
        load(folder, *edits, retention=retention)
    (problem,) = caught.value.problems
    return str(problem)


def test_every_kind_has_a_bound_of_its_own_where_the_file_says_nothing(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert {str(kind): option_of(config, kind) for kind in Kept} == {
        "plans": ("retention.plans_days", 365),
        "ledger": ("retention.ledger_days", None),
        "differences": ("reconcile.keep_days", 90),
        "reports": ("retention.reports_days", 730),
        "versions": ("retention.versions_days", 365),
        "webhook_bodies": ("retention.webhook_bodies_days", 180),
        "archive": ("webhooks.archive_days", None),
        "runs": ("retention.runs_days", 365),
        "looks": ("retention.looks_days", 90),
    }


def test_two_names_are_one_option(tmp_path: Path) -> None:
    silent = (("  keep_days: 90\n", ""),)
    config = load(tmp_path, *silent, retention="{differences_days: 40, archive_days: 700}")
    assert differences_days(config) == 40
    assert option_of(config, Kept.DIFFERENCES) == ("retention.differences_days", 40)
    assert option_of(config, Kept.ARCHIVE) == ("retention.archive_days", 700)
    assert differences_days(load(tmp_path, retention="{differences_days: 90}")) == 90
    assert "found 40, expected 90 as reconcile.keep_days, or one of the two left out" in refusal(
        tmp_path, retention="{differences_days: 40}"
    )
    assert "found 40, expected 365 as webhooks.archive_days" in refusal(
        tmp_path, ("# archive_days: 365", "archive_days: 365"), retention="{archive_days: 40}"
    )


@pytest.mark.parametrize(
    ("edits", "retention", "said"),
    [
        (
            [("expires_hours: 24", "expires_hours: 100")],
            "{plans_days: 4, undo_days: 0}",
            "retention.plans_days: found 4 days, expected no less than approval.expires_hours, 100 hours",
        ),
        (
            [("expires_hours: 24", "expires_hours: 100"), ("keep_days: 90", "keep_days: 4")],
            "{}",
            "reconcile.keep_days: found 4 days, expected no less than approval.expires_hours, 100 hours",
        ),
        (
            [],
            "{plans_days: 29}",
            "retention.plans_days: found 29 days, expected no less than retention.undo_days, 30",
        ),
        (
            [APPOINTMENT],
            "{plans_days: 6, undo_days: 0}",
            "retention.plans_days: found 6 days, expected no less than 7: for so long an appointment",
        ),
        (
            [("not_found_minutes: 60", "not_found_minutes: 3000")],
            "{webhook_bodies_days: 2}",
            "retention.webhook_bodies_days: found 2 days, expected no less than webhooks.not_found_minutes",
        ),
    ],
)
def test_a_bound_that_is_shorter_than_what_may_need_it_is_refused(
    tmp_path: Path, edits: list[tuple[str, str]], retention: str, said: str
) -> None:
    told = refusal(tmp_path, *edits, retention=retention)
    assert said in told
    assert f"{tmp_path / 'sync.yaml'}:" in told


def test_null_keeps_for_ever(tmp_path: Path) -> None:
    config = load(tmp_path, retention="{versions_days: null, plans_days: null}")
    assert option_of(config, Kept.VERSIONS) == ("retention.versions_days", None)
    assert option_of(config, Kept.PLANS) == ("retention.plans_days", None)


@pytest.mark.parametrize(
    ("edits", "retention"),
    [
        ([("expires_hours: 24", "expires_hours: 96")], "{plans_days: 4, undo_days: 4}"),
        (
            [("expires_hours: 24", "expires_hours: 96"), ("keep_days: 90", "keep_days: 4")],
            "{reports_days: 4}",
        ),
        ([APPOINTMENT], "{plans_days: 7, undo_days: 0}"),
        ([APPOINTMENT], "{plans_days: null}"),
        ([("not_found_minutes: 60", "not_found_minutes: 2880")], "{webhook_bodies_days: 2}"),
        ([("not_found_minutes: 60", "not_found_minutes: 3000")], "{webhook_bodies_days: null}"),
        ([("# archive_days: 365", "archive_days: 40")], "{archive_days: 40}"),
        ([], "{differences_days: 90}"),
    ],
)
def test_a_bound_that_is_just_long_enough_is_taken(
    tmp_path: Path, edits: list[tuple[str, str]], retention: str
) -> None:
    load(tmp_path, *edits, retention=retention)


@pytest.mark.parametrize("name", [f"{kind}_days" for kind in Kept])
def test_less_than_a_day_is_no_bound(tmp_path: Path, name: str) -> None:
    edits = [("  keep_days: 90\n", "")] if name == "differences_days" else []
    with pytest.raises(InvalidConfigurationError):
        load(tmp_path, *edits, retention=f"{{{name}: 0}}")
    expires = [("expires_hours: 24", "expires_hours: 1"), ("not_found_minutes: 60", "not_found_minutes: 5")]
    load(tmp_path, *edits, *expires, retention=f"{{{name}: 1, undo_days: 0}}")


def test_an_undo_may_need_no_plan(tmp_path: Path) -> None:
    assert load(tmp_path, retention="{undo_days: 0}").retention.undo_days == 0
    with pytest.raises(InvalidConfigurationError):
        load(tmp_path, retention="{undo_days: -1}")
