"""Every output of the commands: personal data of either side is masked, and nothing in it steers a terminal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from enerflo_sync.addresses import Addresses
from enerflo_sync.jobs.context import open_account
from enerflo_sync.pages.record import read_record_page, render_record
from enerflo_sync.reconcile.render.frame import Frame
from tests.cli.conftest import SHIPPED, Run
from tests.cli.test_rebuild import sql

CANARY = "Qcanary"
DIGITS = "5557770"
# In text that is not personal: it is shown, and must not be sent.
STEERING = "On\x1b[2J\x9b31m \u202eHold\u2066"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# Of each side other values, so that they differ and are shown; `{n}` makes them differ by row.
MIRROR = (
    f"update enerflo.installs set customer_name = '{CANARY} M' || install_id, agent_name = '{CANARY} Agent'",
    f"update enerflo.customers set first_name = '{CANARY}', last_name = '{CANARY}son',"
    f" email = '{CANARY}' || customer_id || '@{CANARY}.example', mobile = '+1 555 777 0' || customer_id,"
    f" address = '{CANARY} Street 1', city = '{CANARY}ville', zip = '{CANARY}99'",
    f"update enerflo.notes set body = 'call {CANARY} at ' || note_id",
)
CRM = (
    f"update crm.installs set customer_name = '{CANARY} C' || enerflo_install_id",
    f"update crm.leads set first_name = '{CANARY}crm', last_name = '{CANARY}sen',"
    f" email = '{CANARY}' || lead_id || '@crm.example', mobile = '+1 555 777 1' || right(lead_id, 3),"
    f" address = '{CANARY} Road 2', city = '{CANARY}burg', zip = '{CANARY}98', updated_at = now()",
    f"update crm.notes set body = 'ask {CANARY} ' || note_id",
)
OFFICE = "update crm.installs set panel_type = :v, updated_at = now()"

FORMS = ("text", "json", "html", "csv", "parquet", "xlsx")


def outputs(run: Run, folder: Path, url: str) -> Iterator[tuple[str, str]]:
    """Yield every output that shows a value of either side, by name."""

    def said(name: str, *words: str) -> tuple[str, str]:
        result = run(*words)
        assert result.code in (0, 1), (words, result.err)
        assert result.out.strip(), words
        return name, result.out + result.err

    for form in FORMS:
        path = folder / f"report.{form}"
        run("-v", "reconcile", "--full", "--format", form, "--out", str(path))
        match form:
            case "parquet":
                text = str(pq.read_table(path).to_pylist())
            case "xlsx":
                text = str([sheet.to_dict() for sheet in pd.read_excel(path, sheet_name=None).values()])
            case _:
                text = path.read_text()
        yield f"report as {form}", text
    yield said("report on the terminal", "-v", "reconcile", "--full")
    for form in ("text", "json", "html"):
        yield said(f"plan as {form}", "-v", "plan", "--format", form)
    other = folder / "other.yaml"
    text = (folder / "sync.yaml").read_text()
    other.write_text(text.replace("source_of_truth: crm", "source_of_truth: enerflo"))
    yield said("what-if", "what-if", str(other))
    yield said("what-if as json", "what-if", str(other), "--json")
    names = {
        "install": "select max(enerflo_install_id)::text from crm.installs where customer_name is not null",
        "note": "select min(note_id) from crm.notes",
        "lead": "select min(lead_id) from crm.leads where enerflo_customer_id is not null",
    }
    for table, statement in names.items():
        key = str(sql(url, statement)[0][0])
        yield said(f"explain {table}", "explain", table, key)
        yield said(f"explain {table} as json", "explain", table, key, "--json")
        place = open_account("default", os.environ)
        with place.engine.connect() as connection:
            page = read_record_page(connection, place.config, "default", table, key, Addresses())
            yield f"explain {table} as page", render_record(page, Frame(Addresses(), "default"))
        place.close()
    plan = json.loads(run("plan", "--json").out)["plan_hash"]
    yield said("a rejected plan", "apply", plan, "--reject", "Sam", "--because", "not yet")
    for words in ((), ("--json",)):
        yield said(f"refusals {words}", "reopen", *words)
    yield said("plan with refusals", "plan", "--format", "json")
    run("reopen", "--by", "Sam")
    plans = json.loads(run("plan", "--json").out)["plans"]
    for one in plans:
        yield said("apply", "-v", "apply", one["plan_hash"], "--approve", "Pat")
    for one in plans[:1]:
        yield said("undo", "-v", "undo", one["plan_hash"])
        yield said("undo as json", "undo", one["plan_hash"], "--json")
    yield said("explain a written lead", "explain", "lead", str(sql(url, names["lead"])[0][0]))
    for words in (("rebuild",), ("quality",), ("gaps", "--all"), ("witnesses",), ("doctor",), ("notify",)):
        yield said(" ".join(words), "-v", *words)
        if words != ("doctor",):
            yield said(f"{words[0]} as json", *words, "--json")
    for words in (("retry",), ("quarantine", "list")):
        result = run(*words)
        yield " ".join(words), result.out + result.err
        yield f"{' '.join(words)} as json", run(*words, "--json").out
    for (item,) in sql(url, "select item_id from sync.quarantine order by 1"):
        yield said("quarantine show", "quarantine", "show", str(item))


@pytest.fixture
def planted(
    run: Run,
    warehouse_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Run:
    """Both sides, with canaries in what is personal; the mapping says nothing of it, or that it is not."""
    text = re.sub(r",\s+personal_data: \w+", getattr(request, "param", ""), SHIPPED.read_text())
    assert f"personal_data: {'false' if request.param else 'n'}" in text or not request.param
    (tmp_path / "sync.yaml").write_text(text.replace("mode: report", "mode: both"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(tmp_path / "sync.yaml"))
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    sql(warehouse_url, "alter table enerflo.installs alter column panel_type type text")
    for statement in (*MIRROR, *CRM):
        sql(warehouse_url, statement)
    hostile = STEERING.replace("'", "''")
    sql(warehouse_url, f"update crm.installs set panel_type = U&'{_escaped(hostile)}', updated_at = now()")
    few = "(select min(install_id) from enerflo.installs)"
    bad = """update enerflo.install_versions set raw = raw || '{"system_size": "huge"}' where install_id = """
    sql(warehouse_url, f"{bad}{few}")
    sql(
        warehouse_url,
        f"update enerflo.install_statuses set name = U&'{_escaped(hostile)}' where status_id = 4",
    )
    run("rebuild", "--apply", "--where", f"install_id = {few}")
    return run


def _escaped(text: str) -> str:
    return "".join(f"\\{ord(one):04x}" for one in text)


@pytest.mark.parametrize("planted", [""], indirect=True)
def test_personal_data_is_masked_in_every_output_by_default(
    planted: Run, tmp_path: Path, warehouse_url: str
) -> None:
    found = list(outputs(planted, tmp_path, warehouse_url))
    assert len(found) > 40
    leaks = [
        name for name, text in found if CANARY.lower() in text.lower() or DIGITS in re.sub(r"\W", "", text)
    ]
    assert leaks == []
    # CSV and Parquet hold the very values, for programs.
    steering = [
        name for name, text in found if "csv" not in name and "parquet" not in name and STEERS.search(text)
    ]
    assert steering == []
    assert sum("\\x1b" in text or "\\u001b" in text for _, text in found) > 8


@pytest.mark.parametrize("planted", [", personal_data: false"], indirect=True)
def test_the_same_outputs_show_the_values_where_the_mapping_says_that_they_are_not_personal(
    planted: Run, tmp_path: Path, warehouse_url: str
) -> None:
    """The test above looks at outputs in which values would stand."""
    found = dict(outputs(planted, tmp_path, warehouse_url))
    shown = {name for name, text in found.items() if CANARY in text}
    expected = {f"report as {form}" for form in FORMS}
    expected |= {f"plan as {form}" for form in ("text", "json", "html")} | {"what-if", "what-if as json"}
    expected |= {
        f"explain {one}{form}" for one in ("install", "note", "lead") for form in ("", " as json", " as page")
    }
    expected |= {"refusals ()", "refusals ('--json',)", "plan with refusals"}
    assert expected <= shown
