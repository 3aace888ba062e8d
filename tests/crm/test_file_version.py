"""The version of a configuration file's form: a newer one is refused by one sentence, and older files load."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.quality.life_cycle.graph import load_life_cycle
from enerflo_sync.quality.suite import load_suite
from tests.crm.conftest import load
from tests.previous_release import git, why_no_history

SHIPPED = "include/config/sync.yaml"
LOADERS = {"sync.yaml": load_config, "change_orders.yaml": load_suite, "life_cycle.yaml": load_life_cycle}


@pytest.mark.parametrize("name", LOADERS)
def test_a_file_of_a_newer_form_is_refused_by_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    # Options that only the newer form has would be told as mistakes.
    path.write_text("# the form of a later release\nversion: 2\nmaps: {installs: crm.installs}\n")
    with pytest.raises(ConfigurationError) as caught:
        LOADERS[name](path, {})
    assert str(caught.value) == (
        f"{path}:2: version: found 2, expected at most 1, the newest form that this version of enerflo-sync"
        " reads. The file is for a newer version of enerflo-sync: use that one here (docs/upgrading.md)."
    )


@pytest.mark.parametrize("name", LOADERS)
def test_a_file_without_a_version_has_the_first_form(tmp_path: Path, name: str) -> None:
    text = Path("include/config", name).read_text()
    assert "\nversion: 1\n" in text
    (tmp_path / name).write_text(text.replace("\nversion: 1\n", "\n"))
    assert LOADERS[name](tmp_path / name, {}).version == 1


def test_the_version_alone_changes_no_comparison(tmp_path: Path) -> None:
    text = Path(SHIPPED).read_text()
    (tmp_path / "without").mkdir()
    written, absent = load(tmp_path, text), load(tmp_path / "without", text.replace("\nversion: 1\n", "\n"))
    assert written.hash("default") == absent.hash("default")


@pytest.mark.skipif(bool(why_no_history()), reason=why_no_history())
def test_every_file_that_was_shipped_with_this_form_still_loads(tmp_path: Path) -> None:
    # Of the very first commit: its list of resources had `milestones`, in no release.
    commits = git("log", "--reverse", "--format=%H", "--", SHIPPED).split()[1:]
    assert commits
    for commit in commits:
        load(tmp_path, git("show", f"{commit}:{SHIPPED}"), ENERFLO_API_KEY="k")
