"""``enerflo-sync prune`` as a person meets it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.conftest import SHIPPED, Run
from tests.cli.test_rebuild import sql
from tests.retention.rows import put


def test_a_look_shows_what_would_go_and_the_prune_deletes_it(run: Run, warehouse_url: str) -> None:
    run("poll")
    sql(
        warehouse_url,
        "insert into sync.api_calls (account, endpoint, hour, calls)"
        " select 'default', 'old', now() - interval '2 years' + n * interval '1 hour', 1 from generate_series(1, 3) n",
    )
    shown = run("prune", "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[0].startswith("Would delete 3 rows or files, about ")
    assert "Nothing was deleted: leave --dry-run out to delete it." in shown.out
    assert "archive         kept for ever (webhooks.archive_days)" in shown.out
    told = run("prune", "--json").json
    assert (told["deleted"], told["rows"]) == (True, 3)
    assert {one["kind"]: one["rows"] for one in told["kinds"] if one["rows"]} == {"runs": 3}
    again = run("prune")
    assert again.out.splitlines()[0] == "Deleted nothing."
    assert sql(warehouse_url, "select count(*) from sync.runs where job = 'prune' and state = 'ok'") == [(2,)]


def test_a_look_says_that_it_cannot_count_what_goes_with_plans(run: Run, warehouse_url: str) -> None:
    run("poll")
    words = "More may go: what stands only for a plan that goes with it is not counted here."
    assert words not in run("prune", "--dry-run").out
    engine, old = sa.create_engine(warehouse_url), datetime(2020, 1, 1, tzinfo=UTC)
    ended = {"state": "expired", "kind": "sync", "created_at": old, "expires_at": old}
    with engine.begin() as connection:
        for number in range(3):
            put(connection, "sync.plans", account="default", plan_hash=f"old{number}", **ended)
    engine.dispose()
    assert words in run("prune", "--dry-run").out
    assert words not in run("prune").out


def test_who_is_to_be_forgotten_is_shown_first_and_then_erased(run: Run, warehouse_url: str) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    ((customer,),) = sql(warehouse_url, "select min(customer_id) from enerflo.installs")
    email = f"select email, first_name from enerflo.customers where customer_id = {customer}"
    before = sql(warehouse_url, email)
    shown = run("forget", "--customer", str(customer))
    assert shown.out.startswith(f"Would erase personal data of customer {customer} with 1 install in ")
    assert "Nothing was erased: add --yes to erase it. It cannot be undone." in shown.out
    assert sql(warehouse_url, email) == before
    done = run("forget", "--customer", str(customer), "--yes", "--by", "Pat", "--json").json
    assert (done["erased"], done["forgotten_by"]) == (True, "Pat")
    assert sql(warehouse_url, email) == [(None, None)]
    assert str(before[0][0]) not in str(done)
    unknown = run("forget", "--customer", "7", "--yes")
    assert unknown.code == 2
    assert "there is no customer 7." in unknown.err


def test_an_archive_that_nobody_looked_into_is_not_counted_as_empty(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A shell without the tasks' WEBHOOK_DROP_URI."""
    config = tmp_path / "sync.yaml"
    config.write_text(SHIPPED.read_text().replace("  # archive_days: 365", "  archive_days: 365"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    monkeypatch.delenv("WEBHOOK_DROP_URI", raising=False)
    run("poll")
    (line,) = [one for one in run("prune", "--dry-run").out.splitlines() if one.startswith("  archive")]
    assert "not looked at: nothing says where the drop is (webhook_drop_uri)" in line
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(tmp_path / "drop"))
    (tmp_path / "drop").mkdir()
    (line,) = [one for one in run("prune", "--dry-run").out.splitlines() if one.startswith("  archive")]
    assert line.split()[:2] == ["archive", "0"]


def test_several_customers_are_forgotten_by_one_command(run: Run, warehouse_url: str, tmp_path: Path) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    rows = sql(warehouse_url, "select distinct customer_id from enerflo.installs order by 1 limit 3")
    one, two, three = (str(row[0]) for row in rows)
    listed = tmp_path / "gone.txt"
    listed.write_text(f"{two}\n{three}\n987654321\n")
    chosen = ("forget", "--customer", one, "--customer", two, "--customers-file", str(listed))
    shown = run(*chosen)
    assert shown.code == 1
    lines = shown.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [one, two, three]
    assert lines[3:5] == [
        "Would erase personal data of 3 customers.",
        "Nothing was erased: add --yes to erase it. It cannot be undone.",
    ]
    assert lines[5].startswith(
        "Left out, customer 987654321: enerflo.customers, account default: there is no "
    )
    done = run(*chosen, "--yes", "--by", "Pat", "--json").json
    assert [one["erased"] for one in done["customers"]] == [True] * 3
    assert list(done["left_out"]) == ["987654321"]
    assert sql(warehouse_url, "select count(*) from sync.forgotten") == [(3,)]
    nobody = run("forget", "--yes")
    assert (nobody.code, "nothing says which customers" in nobody.err) == (2, True)
