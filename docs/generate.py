"""Writes the pages that follow from the code; with ``--check`` it only compares, and fails where one is old.

Run it as ``make docs``. CI runs ``make check``, which compares.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from notifications_page import notifications_page

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "include" / "config" / "sync.yaml"
SUITE = SHIPPED.with_name("change_orders.yaml")
LIFE_CYCLE = SHIPPED.with_name("life_cycle.yaml")


def tables_page() -> str:
    """Return the catalogue of the warehouse tables."""
    import enerflo_sync.resources.registry  # noqa: F401 - a resource may declare its own table
    from enerflo_sync.warehouse.schema import metadata

    told = dict(told_of_tables())
    lines = [
        "# Tables",
        "",
        *_TABLES_INTRO,
        "",
    ]
    for table in sorted(metadata.tables.values(), key=lambda table: (table.schema or "", table.name)):
        if table.name not in told:
            raise SystemExit(f"Write above the declaration of {table.fullname}, in a comment, what it holds.")
        purpose, remarks = told[table.name]
        key = {column.name for column in table.primary_key.columns}
        lines += [f"## {table.fullname}", "", purpose, "", "| column | type | | |", "|---|---|---|---|"]
        for column in table.columns:
            type_ = _TYPES.get(kind := str(column.type).lower(), kind)
            remark = "key" if column.name in key else "" if column.nullable else "required"
            said = remarks.get(column.name, "")
            lines.append(f"| {column.name} | {type_} | {remark} | {said} |")
        lines.append("")
    return "\n".join(lines)


def told_of_tables() -> Iterator[tuple[str, tuple[str, dict[str, str]]]]:
    """Yield each declared table with the comment above it, and with the comments above its columns."""
    package = ROOT / "include" / "enerflo_sync"
    for path in sorted([*package.glob("warehouse/schema/*.py"), *package.glob("resources/*.py")]):
        text = path.read_text(encoding="utf-8")
        for found in _TABLE.finditer(text):
            remarks = {}
            for comment, column in _COLUMN.findall(found["columns"] or ""):
                remarks[column] = _as_prose(comment)
            yield found["name"], (_as_prose(found["comment"]), remarks)


_TYPES = {"datetime": "timestamptz", "blob": "bytea"}
_TABLES_INTRO = (
    "The schema `enerflo` is the mirror: Enerflo's records as they were last read. The schema `sync` has",
    "everything else. Every table has `account` first in its key. All times are `timestamptz`.",
    "",
    "Every table of current records in the mirror also has these columns: `observed_at`, the time of the",
    "request by which the row's present content was first seen; `observed_by`, who saw it (poll, webhook,",
    "backfill or push); `absent_since`, since when the list lacks the record; `deleted_at`, when it was",
    "found deleted (a tombstone); and `raw_hash`, the digest of Enerflo's bytes.",
)
# A table's comment, its name, and the lines between its parentheses if there are several.
_TABLE = re.compile(
    r"(?P<comment>(?:^# .*\n)+)^\w+ = \w*[Tt]able\(\s*\"(?P<name>\w+)\""
    r"(?:,\n(?P<columns>(?:(?: .*)?\n)*?)\))?",
    re.MULTILINE,
)
# A comment within a table, and the first name in the line below it.
_COLUMN = re.compile(r"((?:^ +# .*\n)+) +(?:Column|required|time|text)\(\s*\"(\w+)\"", re.MULTILINE)


def _as_prose(comment: str) -> str:
    """Return a comment as one line of Markdown."""
    lines = (line.strip().removeprefix("#").strip() for line in comment.splitlines())
    return " ".join(lines).replace("``", "`").replace("|", "\\|")


def resources_page() -> str:
    """Return the catalogue of what is read of Enerflo, as each resource declares it."""
    from enerflo_sync.resources.installs import INSTALLS
    from enerflo_sync.resources.registry import ALL

    lines = [
        "# Resources",
        "",
        "What is read of Enerflo, in the order of a poll; each is declared by one file of"
        " `include/enerflo_sync/resources/` ([how](extending.md#declare-a-resource)). A record that two"
        " complete walks of its list do not name is deleted (the second began after the first ended);"
        " where it is read by its own key, so is one whose read answers 404. Both are believed only"
        " within `poll.shrink_guard_percent`.",
        "",
        "| resource | list | events | read by | tables | watermarks | backfill by | stored |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in ALL:
        name = one.name if one.by_default else f"{one.name} (where `poll.resources` names it)"
        keys = [f"{read.subject}" + (f" ({read.owner})" if read.owner else "") for read in one.reads]
        stored = "versions" if one.versions is not None else "payloads" if one.payloads else ""
        marks = [mark for mark in (one.listing and one.name, one.swept) if mark]
        by = "its own list" if one is INSTALLS else one.backfilled_by or ""
        cells = [name, f"`{one.listing.path}`" if one.listing else "one answer"]
        cells += [", ".join(kind.name for kind in one.events), ", ".join(keys)]
        cells += [", ".join(str(part.table.name) for part in one.parts), ", ".join(marks), by, stored]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def policies_page() -> str:
    """Return the truth table of what is decided where the two sides differ."""
    from enerflo_sync.crm.decision import BLOCKING_RULES, WINNER_RULES, Resolution
    from enerflo_sync.crm.mapping import SourceOfTruth
    from enerflo_sync.crm.truth_table import NEVER, SITUATIONS, Case

    words = {
        Resolution.TO_CRM: "→ CRM",
        Resolution.TO_ENERFLO: "→ Enerflo",
        Resolution.REVIEW: "person",
        Resolution.KEEP: "stays",
    }

    def cell(case: Case) -> str:
        later, earlier = (
            Case(case.base, case.enerflo, case.crm, case.policy, case.null_overwrites, crm_later)
            for crm_later in (True, False)
        )
        found = [words[one.decided()[0]] for one in (earlier, later)]
        return found[0] if found[0] == found[1] else f"{found[0]} / {found[1]}"

    lines = [
        "# Who wins",
        "",
        "What a plan decides where the two sides differ in a field, made of the rules in"
        " `include/enerflo_sync/crm/decision.py`; a test runs every line on PostgreSQL."
        " A, B and C are values, ∅ is null. *Agreed* is the value on which both last agreed"
        " (`sync.agreed`), empty where they never did. `→ CRM` writes Enerflo's value to the CRM,"
        " `→ Enerflo` the other way, `person` leaves it to one, `stays` writes nothing. Where two are"
        " given, Enerflo's record is the later one in the first, the CRM's row in the second."
        " *null* stands for `null_overwrites: true`.",
        "",
        "| agreed | Enerflo | CRM |" + "".join(f" {p} | {p}, null |" for p in SourceOfTruth),
        "|---|---|---|" + "---|---|" * len(SourceOfTruth),
    ]
    for base, enerflo, crm in SITUATIONS:
        shown = ["" if base == NEVER else base or "∅", enerflo or "∅", crm or "∅"]
        shown += [
            cell(Case(base, enerflo, crm, policy, null_overwrites, crm_later=False))
            for policy in SourceOfTruth
            for null_overwrites in (False, True)
        ]
        lines.append(f"| {' | '.join(shown)} |")
    lines += ["", "## The rules, in their order", "", "Whose value it is; the first that fits decides.", ""]
    lines += ["| rule | when | then | in words |", "|---|---|---|---|"]
    for rules in (WINNER_RULES, BLOCKING_RULES):
        if rules is BLOCKING_RULES:
            lines += ["", "What may be in the way of the winner.", ""]
            lines += ["| rule | when | then | in words |", "|---|---|---|---|"]
        for rule in rules:
            when = rule.when or "otherwise"
            lines.append(f"| {rule.name} | {when} | {words[rule.outcome]} | {rule.words} |")
    lines += [
        "",
        "`enerflo`, `crm`, `newest` and `review` are the field's `source_of_truth`. A record that a side"
        " lacks follows `create_in`, `create_when` and `delete_in` of its table in sync.yaml.",
        "",
    ]
    return "\n".join(lines)


def fields_page() -> str:
    """Return the catalogue of the compared fields, as the shipped configuration has them."""
    from enerflo_sync.crm.load import load_config

    config = load_config(SHIPPED, {})
    lines = ["# Fields", "", "What the shipped `include/config/sync.yaml` compares, and how.", ""]
    for name, table in config.tables_for("default").items():
        compared = "" if table.reconcile else " (not reconciled)"
        lines += [f"## {name}: {table.crm_table}{compared}", ""]
        lines += [
            "| CRM column | Enerflo | compared as | source of truth | personal data |",
            "|---|---|---|---|---|",
        ]
        for column, field in table.fields.items():
            how = [str(field.type)]
            how += [f"tolerance {field.tolerance:g}"] if field.tolerance else []
            how += [f"{field.tolerance_percent:g} %"] if field.tolerance_percent else []
            how += [word for word in ("trim", "fold_case") if getattr(field, word)]
            how += [f"null {field.null}"] if field.null != "distinct" else []
            lines.append(
                f"| {column} | {field.enerflo} | {', '.join(how)} | {field.source_of_truth}"
                f" | {field.personal_kind} |"
            )
        lines.append("")
    return "\n".join(lines)


def dags_page() -> str:
    """Return the catalogue of the DAGs, from Airflow's own reading of them."""
    home = tempfile.mkdtemp(prefix="enerflo-docs-")
    # Airflow writes there until the process ends.
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    # A second account, since one of the DAGs is about all accounts.
    config = Path(home) / "sync.yaml"
    config.write_text(SHIPPED.read_text())
    (config.parent / "accounts").mkdir()
    (config.parent / "accounts" / "second.yaml").write_text("{}\n")
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "ENERFLO_SYNC_CONFIG": str(config),
    }
    sys.path.insert(0, str(ROOT / "plugins"))
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    if bag.import_errors or not bag.dags:
        raise SystemExit(f"the DAGs cannot be read: {bag.import_errors or 'none found'}")
    lines = [
        "# DAGs",
        "",
        "One of each for the account `default`; `enerflo_poll__<account>` and so on for others."
        " `enerflo_accounts` is one for all, where there are several.",
        "",
    ]
    for dag_id, dag in sorted(bag.dags.items()):
        if dag_id.endswith("__second"):
            continue
        lines += [
            f"## {dag_id}",
            "",
            f"*Starts:* {_schedule(dag.timetable)}",
            "",
            (dag.doc_md or "").strip(),
            "",
        ]
        if dag.params:
            lines += ["| form field | default | what it does |", "|---|---|---|"]
            for name, value in dag.params.dump().items():
                param = dag.params.get_param(name)
                default = json.dumps(value)
                lines.append(f"| {param.schema['title']} | `{default}` | {param.description} |")
            lines.append("")
    return "\n".join(lines)


def _schedule(timetable: Any) -> str:
    """Return a timetable in words: its cron expression, the assets it waits for, or both."""
    name = type(timetable).__name__
    if name == "BackfillMonths":
        return "by hand, and month by month by Airflow's own backfill"
    parts = []
    assets = getattr(timetable, "asset_condition", None)
    if assets is not None:
        parts.append("when " + ", ".join(f"`{asset.uri}`" for asset in assets.objects) + " changed")
    clock = getattr(timetable, "timetable", timetable)
    if getattr(clock, "expression", None):
        parts.append(f"`{clock.expression}` (UTC)")
    return " and ".join(parts) or ("by hand only" if name == "NullTimetable" else name)


def checks_page() -> str:
    """Return the catalogue of the checks, as the shipped suite and life-cycle have them."""
    from enerflo_sync.quality.columns import COLUMNS
    from enerflo_sync.quality.rules import expected_words
    from enerflo_sync.quality.suite import load_suite

    suite = load_suite(SUITE, {})
    lines = [
        "# Checks of change orders",
        "",
        "What the shipped `include/config/change_orders.yaml` asks. An order that fails a check of severity"
        " hold does not reach the CRM; warn is only shown. A fact that does not apply is null, and passes.",
        "",
        "| check | what holds | does | fact | limit | if it fails | what to do |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, check in suite.checks.items():
        limit = expected_words(check).replace("|", "\\|")
        lines.append(
            f"| {name} | {check.sentence} | {check.severity} | {check.column} | {limit} | {check.reason}"
            f" | {check.todo} |"
        )
    lines += ["", "## The facts", "", "Columns of `sync.change_order_facts` that a check may name.", ""]
    lines += ["| column | is | says |", "|---|---|---|"]
    lines += [f"| {name} | {column.kind} | {column.says} |" for name, column in COLUMNS.items()]
    lines += ["", *_life_cycle_lines(), ""]
    return "\n".join(lines)


def _life_cycle_lines() -> Iterator[str]:
    """Yield the steps of an install and what is looked for in its history, as the shipped file has them."""
    from enerflo_sync.quality.life_cycle.graph import load_life_cycle

    life_cycle = load_life_cycle(LIFE_CYCLE, {})
    yield "## Life-cycle of installs"
    yield ""
    yield (
        "What the shipped `include/config/life_cycle.yaml` declares. A history that does not fit is a"
        " finding (`sync.life_cycle_findings`); it holds nothing back. A milestone of another title is not"
        " judged, and the result says how many there are."
    )
    yield ""
    yield "| step | milestones | after | may be skipped | may be opened again | within |"
    yield "|---|---|---|---|---|---|"
    for name, step in life_cycle.steps.items():
        within = "" if step.within_days is None else f"{step.within_days:g} days"
        yes = ["yes" if allowed else "" for allowed in (step.may_skip, step.may_reopen)]
        cells = [name, ", ".join(step.titles), ", ".join(step.after), *yes, within]
        yield f"| {' | '.join(cells)} |"
    paused = ", ".join(str(status) for status in life_cycle.paused)
    yield ""
    yield (
        f"Times that lie less than {life_cycle.tolerance_hours:g} hours apart have no order. No limit runs"
        f" while an install is completed (`statuses` in sync.yaml) or has one of the statuses {paused}; of a"
        " voided or deleted one nothing is judged."
    )
    yield ""
    yield "| check | what holds | does | if it fails | what to do |"
    yield "|---|---|---|---|---|"
    for check, told in life_cycle.checks.items():
        yield f"| {check} | {told.sentence} | {told.severity} | {told.reason} | {told.todo} |"


def life_cycle_schema_file() -> str:
    """Return the JSON schema of life_cycle.yaml, for editors."""
    from enerflo_sync.quality.life_cycle.graph import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def suite_schema_file() -> str:
    """Return the JSON schema of change_orders.yaml, for editors."""
    from enerflo_sync.quality.suite import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def schema_file() -> str:
    """Return the JSON schema of sync.yaml, for editors."""
    from enerflo_sync.crm.config import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def account_schema_file() -> str:
    """Return the JSON schema of an account's own file, for editors."""
    from enerflo_sync.crm.config import account_json_schema

    return json.dumps(account_json_schema(), indent=2, ensure_ascii=False) + "\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with what should be in it."""
    head = "<!-- Generated by docs/generate.py (make docs): change the code, not this page. -->\n\n"
    yield SHIPPED.with_name("sync.schema.json"), schema_file()
    yield SHIPPED.with_name("account.schema.json"), account_schema_file()
    yield SUITE.with_name("change_orders.schema.json"), suite_schema_file()
    yield LIFE_CYCLE.with_name("life_cycle.schema.json"), life_cycle_schema_file()
    yield ROOT / "docs" / "checks.md", head + checks_page()
    yield ROOT / "docs" / "notifications.md", head + notifications_page()
    yield ROOT / "docs" / "tables.md", head + tables_page()
    yield ROOT / "docs" / "resources.md", head + resources_page()
    yield ROOT / "docs" / "fields.md", head + fields_page()
    yield ROOT / "docs" / "policies.md", head + policies_page()
    yield ROOT / "docs" / "dags.md", head + dags_page()


def main() -> None:
    """Write the pages, or say which are old."""
    new = {path: text.rstrip("\n") + "\n" for path, text in pages()}
    old = [path for path, text in new.items() if not path.exists() or path.read_text() != text]
    if "--check" not in sys.argv[1:]:
        for path in old:
            path.write_text(new[path])
    elif old:
        names = ", ".join(str(path.relative_to(ROOT)) for path in old)
        raise SystemExit(f"not what the code says: {names}. Run: make docs")


if __name__ == "__main__":
    main()
