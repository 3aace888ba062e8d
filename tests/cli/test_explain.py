"""``enerflo-sync explain`` as a person runs it: text, JSON, masks, and one sentence for what is not there."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.cli.conftest import Run


@pytest.fixture
def ready(run: Run) -> Run:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    return run


def one(statement: str) -> object:
    engine = warehouse_engine(os.environ["WAREHOUSE_URL"])
    with engine.connect() as connection:
        found = connection.scalar(sa.text(statement))
    engine.dispose()
    return found


INSTALL = "select min(install_id) from enerflo.installs where customer_name is not null"


def test_the_story_of_an_install_is_told_and_exits_with_0(ready: Run) -> None:
    install, name = (
        one(INSTALL),
        one(f"select customer_name from enerflo.installs where install_id = ({INSTALL})"),
    )
    result = ready("explain", "install", str(install))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"install {install}\n")
    assert "\nstatus\n" in result.out
    assert str(name) not in result.out
    assert max(map(len, result.out.splitlines())) <= 110


def test_json_holds_the_object_and_the_sentences(ready: Run) -> None:
    result = ready("explain", "install", str(one(INSTALL)), "--field", "status", "--json")
    assert result.code == 0
    (story,) = result.json["fields"]
    assert story["field"] == "status"
    assert result.json["sentences"]["fields"]["status"]
    assert result.json["masked"] is True


def test_a_reveal_names_who_asked(ready: Run) -> None:
    name = one(f"select customer_name from enerflo.installs where install_id = ({INSTALL})")
    result = ready("explain", "install", str(one(INSTALL)), "--reveal", "--by", "ann")
    assert str(name) in result.out
    assert one("select who from sync.reveals") == "ann"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("install", "1"), "neither side has such a record"),
        (("house", "1"), "there is no table 'house'"),
        (("install", "1", "--as-of", "yesterday"), "'yesterday' is no time"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence_and_exits_with_2(
    ready: Run, words: tuple[str, ...], says: str
) -> None:
    ended = ready("explain", *words)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert len(ended.err.strip().splitlines()) == 1
