"""What one may do from a record's page: undo, replay, have personal data shown; and who may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.pages.conftest import Visitor
from tests.pages.known_dags import known, runs_of
from tests.pages.told_records import an_install, apply_plan, fields, path_of, words

pytestmark = pytest.mark.airflow

CANARY = "Qcanary"


def test_an_item_in_quarantine_is_told_and_replayed_by_who_may(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    (row,) = pat.sql(
        "select item_id, key ->> 'install_id' as install from sync.quarantine"
        " where table_name = 'installs' and state = 'open' and exists (select from crm.installs"
        " where enerflo_install_id = (key ->> 'install_id')::bigint) limit 1"
    )
    page = path_of("install", row["install"])
    assert "In quarantine" in pat.text(page)
    assert fields(pat.text(page))[0][1] == "in quarantine"
    assert "one side lacks the record" in pat.text(page)
    assert ">Replay</button>" not in pat.text(page)
    known("replay")
    pat = visitor("ADMIN", "kim")
    assert ">Replay</button>" in pat.text(page)
    form = {"table": "install", "key": row["install"], "item": row["item_id"]}
    first, again = (pat.post("record/default/replay", page, **form) for _ in range(2))
    (run,) = runs_of("replay")
    assert (run.triggering_user_name, run.conf["value"], run.conf["action"]) == (
        "kim",
        row["item_id"],
        "replay",
    )
    assert "run?dag_id=enerflo_replay&run_id=" in first.headers["location"]
    assert (
        first.headers["location"].partition("&notice")[0] == again.headers["location"].partition("&notice")[0]
    )
    pat.sql(
        "update sync.quarantine set state = 'dismissed', decided_by = 'Kim', decided_at = '2026-05-04 03:02Z'"
        " where item_id = :item",
        item=row["item_id"],
    )
    answer = pat.post("record/default/replay", "record/default/install/" + str(an_install(pat)), **form)
    assert answer.status_code == 303
    told = pat.text(answer.headers["location"].removeprefix("/enerflo/"))
    assert "dismissed by Kim on 2026-05-04 03:02 UTC already" in told
    assert "quarantined" in told
    assert ">Replay</button>" not in told


def test_an_undo_makes_the_plan_that_takes_the_write_back_once(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    install = an_install(pat)
    plan = apply_plan(pat)
    page = path_of("install", install)
    assert "Undo its plan" in pat.text(page)
    fields = {"table": "install", "key": str(install), "plan": plan}
    first, second = (pat.post("record/default/undo", page, **fields) for _ in range(2))
    assert first.status_code == second.status_code == 303
    assert first.headers["location"].partition("?")[0] == second.headers["location"].partition("?")[0]
    (undo,) = pat.sql("select plan_hash, stands_on, state, change_count from sync.plans where kind = 'undo'")
    assert (undo["stands_on"], undo["state"]) == (plan, "open")
    assert undo["change_count"] > 0
    assert undo["plan_hash"] in first.headers["location"]
    assert f"to take {plan[:12]} back" in words(pat.text(page))


def test_personal_data_is_revealed_to_who_may_and_it_is_recorded(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN", "ann")
    install = an_install(pat)
    pat.sql(f"update enerflo.installs set customer_name = '{CANARY} Smith' where install_id = {install}")
    page = path_of("install", install)
    assert CANARY not in pat.text(page)
    answer = pat.post("record/default/reveal", page, table="install", key=str(install))
    assert answer.status_code == 200
    assert f"{CANARY} Smith" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    rows = pat.sql("select who, what from sync.reveals")
    assert [(row["who"], row["what"]) for row in rows] == [("ann", f"install/{install}")]
    assert CANARY not in pat.text(page)


def test_who_may_not_see_personal_data_gets_no_button_and_is_refused(visitor: Callable[..., Visitor]) -> None:
    install = an_install(visitor("ADMIN"))
    page = path_of("install", install)
    token = visitor("ADMIN", "pat").token(page)
    for role in ("VIEWER", "USER"):
        pat = visitor(role, "pat")
        assert "Show personal data" not in pat.text(page)
        answer = pat.client.post(
            "/enerflo/record/default/reveal", data={"token": token, "table": "install", "key": str(install)}
        )
        assert answer.status_code == 403, role
    assert pat.sql("select from sync.reveals") == []


@pytest.mark.parametrize("act", ["reveal", "undo", "replay"])
@pytest.mark.parametrize("token", ["", "forged", "9999999999.forged", "another's"])
def test_a_forged_form_does_nothing(visitor: Callable[..., Visitor], act: str, token: str) -> None:
    install = an_install(visitor("ADMIN"))
    if token == "another's":
        token = visitor("ADMIN", "kim").token(path_of("install", install))
    pat = visitor("ADMIN", "pat")
    data = {"token": token, "table": "install", "key": str(install), "plan": "0" * 12, "item": "0" * 12}
    answer = pat.client.post(f"/enerflo/record/default/{act}", data=data)
    assert answer.status_code == 403
    assert "too old, or not one of these pages" in answer.text


def test_what_cannot_be_done_is_told_with_a_way_back(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    install = an_install(pat)
    page = path_of("install", install)
    for act, extra, told in (
        ("undo", {"plan": "0" * 12}, "there is no such plan"),
        ("replay", {"item": "0" * 12}, "quarantine"),
        ("reveal", {}, "No such record"),
    ):
        key = "0" if act == "reveal" else str(install)
        answer = pat.post(f"record/default/{act}", page, table="install", key=key, **extra)
        assert answer.status_code in (400, 404), act
        assert told in answer.text
        assert 'href="/enerflo/overview/default"' in answer.text
