"""What is mutated, and which tests must notice: the modules that decide what is read, compared and written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One module, and the files or folders of tests that hold it, those first that are likely to notice."""

    module: str
    tests: tuple[str, ...]


# Truth tables: quick, and each holds a statement in all its cases.
_TABLES = tuple(
    f"tests/writes/test_{name}.py"
    for name in (
        "truth_table",
        "status_rows",
        "who_moved",
        "agreed_rows",
        "refused_rows",
        "refused_new_rows",
        "twin_rows",
        "decided_rows",
        "gone_rows",
        "replaced_rows",
    )
)
_PLANS = (*_TABLES, "tests/writes", "tests/reconcile")
_COMPARE = (*_TABLES, "tests/reconcile", "tests/writes")
_POLLS = ("tests/mirror",)
_COPY_MODULES = (*("carry", "due", "remote_writes", "fresh_rows", "refresh", "copy_table", "remote_table"),)
_COPIES = (
    *(f"tests/copies/test_{name}_rows.py" for name in ("carry", "due", "remote", "refresh")),
    "tests/copies",
)
_HANDED = (
    *(
        "tests/writes/test_changes.py",
        "tests/writes/test_changes_of_rows.py",
        "tests/writes/test_write_to.py",
    ),
    *("tests/writes/test_airbyte_copy.py", "tests/writes/test_hubspot_copy.py"),
    "tests/writes/test_salesforce_copy.py",
)
_DIALECT_MODULES = (
    *("base", "bigquery", "databricks", "duckdb", "mysql", "oracle", "postgresql", "redshift"),
    *("snowflake", "sqlserver", "untried"),
)
_DIALECTS = (
    *(f"tests/copies/test_{name}.py" for name in ("types_of_columns", "dialect_errors", "dialects")),
    *("tests/copies/test_remote_rows.py", "tests/copies/test_worlds.py", "tests/copies"),
)
_SALESFORCE_MODULES = ("api", "carry", "changes", "check", "judge", "login", "session", "spelling", "table")
_SALESFORCE = (
    *(f"tests/copies/salesforce/test_{name}.py" for name in ("spelling", "object_notices", "session")),
    "tests/copies/salesforce",
)
_SEALS = ("tests/writes/test_seal_rows.py", "tests/writes/test_ledger_seals.py", "tests/cli/test_ledger.py")
# Of the retention each module has a file of its own.
_RETENTION: dict[str, str] = {
    **{"plans": "plan_rows", "reports": "report_rows", "rows": "past_work_rows", "sweep": "past_work_rows"},
    **{"versions": "version_rows", "bodies": "body_rows", "archive": "body_rows"},
    **{"forget": "forget_documents", "forget_documents": "forget_documents", "forget_rows": "forget_rows"},
    "prune": "prune_run",
}
_DRAFT_MODULES = (
    *("belong", "beside", "draft", "drafted", "identify", "look", "mirrored", "refine", "tables", "words"),
)

TARGETS = (
    Target(
        "crm/decision.py", ("tests/crm/test_decision.py", "tests/writes/test_truth_table.py", "tests/crm")
    ),
    Target("plan/decide.py", _PLANS),
    Target(
        "agreed/agree.py",
        (
            *("tests/writes/test_agreed_rows.py", "tests/writes/test_written_rows.py", *_TABLES),
            *("tests/writes/test_agree.py", *_PLANS),
        ),
    ),
    Target("agreed/agree_column.py", ("tests/writes/test_written_rows.py", *_TABLES, *_PLANS)),
    Target(
        "plan/refused.py",
        (
            *("tests/writes/test_refused_rows.py", "tests/writes/test_refused_decided.py"),
            *("tests/writes/test_refused_new_rows.py", *_TABLES, *_PLANS),
        ),
    ),
    Target(
        "agreed/twins.py", ("tests/writes/test_twin_rows.py", *_TABLES, "tests/writes/test_twins.py", *_PLANS)
    ),
    Target(
        "agreed/key_changes.py",
        (
            *("tests/writes/test_key_rows.py", "tests/writes/test_key_order.py"),
            *("tests/writes/test_key_changes.py", *_PLANS),
        ),
    ),
    Target(
        "agreed/own_writes.py",
        ("tests/writes/test_own_write_rows.py", "tests/writes/test_newest.py", *_PLANS),
    ),
    *(
        Target(
            module,
            (
                *("tests/reconcile/test_meaning_rows.py", "tests/writes/test_changed_mapping.py"),
                *("tests/copies/test_another_server.py", *_PLANS),
            ),
        )
        for module in ("agreed/changed_meanings.py", "reconcile/meanings.py")
    ),
    Target(
        "agreed/renamed_tables.py",
        ("tests/writes/test_renamed_rows.py", "tests/writes/test_renamed_tables.py", *_PLANS),
    ),
    Target(
        "agreed/renamed_columns.py",
        ("tests/writes/test_renamed_column_rows.py", "tests/writes/test_renamed_columns.py", *_PLANS),
    ),
    Target(
        "agreed/mapped_otherwise.py",
        (
            *("tests/writes/test_mapped_otherwise_rows.py", "tests/writes/test_mapped_otherwise.py"),
            "tests/copies/salesforce/test_mapped_otherwise.py",
        ),
    ),
    Target(
        "plan/contradictions.py",
        ("tests/writes/test_contradicted_rows.py", "tests/writes/test_tables_of_one_kind.py", *_PLANS),
    ),
    Target("reconcile/mismatched.py", ("tests/reconcile/test_tombstones.py", *_COMPARE)),
    Target("reconcile/judge.py", _COMPARE),
    Target("reconcile/judged_rows.py", _COMPARE),
    Target("reconcile/values.py", ("tests/reconcile/test_values.py", *_COMPARE)),
    Target(
        "reconcile/changed.py",
        ("tests/reconcile/test_times_of_sides.py", "tests/writes/test_later_rows.py", *_COMPARE),
    ),
    Target(
        "reconcile/incremental.py",
        ("tests/reconcile/test_basis.py", "tests/reconcile/test_incremental.py", *_COMPARE),
    ),
    *(
        Target(
            f"mirror/{name}.py",
            (
                *("tests/mirror/test_intake_counts.py", "tests/mirror/test_intake.py", *_POLLS),
                "tests/writes/test_declared_columns.py",
            ),
        )
        for name in ("intake", "preparation")
    ),
    Target("mirror/rejecting.py", ("tests/retention/test_forget_beside_others.py", *_POLLS)),
    Target("mirror/sweep.py", ("tests/mirror/test_sweep.py", *_POLLS)),
    Target(
        "enerflo/pages.py",
        ("tests/enerflo/test_page_pace.py", "tests/enerflo/test_pages.py", "tests/enerflo"),
    ),
    *(Target(f"copies/{name}.py", _COPIES) for name in _COPY_MODULES),
    Target("agreed/arrivals.py", ("tests/writes/test_arrival_rows.py", *_HANDED)),
    Target("agreed/handing_over.py", ("tests/writes/test_handing_over_rows.py", *_HANDED)),
    Target("apply/handed_over.py", ("tests/writes/test_handing_over_rows.py", *_HANDED)),
    Target("apply/report.py", ("tests/writes/test_apply_report_rows.py", "tests/writes/test_apply.py")),
    Target(
        "reconcile/near_keys.py",
        (
            *("tests/reconcile/test_near_key_rows.py", "tests/reconcile/test_near_keys.py"),
            "tests/writes/test_near_keys.py",
        ),
    ),
    Target(
        "reconcile/levels.py",
        (
            *("tests/reconcile/test_level_rows.py", "tests/reconcile/test_levels.py"),
            "tests/writes/test_gone_at_once.py",
        ),
    ),
    Target("plan/row_kinds.py", ("tests/writes/test_row_kinds_rows.py", "tests/writes/test_row_kinds.py")),
    *(
        Target(
            f"reconcile/draft/{name}.py",
            (
                *(
                    "tests/reconcile/draft/test_beside_values.py",
                    "tests/reconcile/draft/test_pairing_rows.py",
                ),
                "tests/reconcile/draft",
            ),
        )
        for name in _DRAFT_MODULES
    ),
    *(Target(f"copies/dialects/{name}.py", _DIALECTS) for name in _DIALECT_MODULES),
    *(Target(f"copies/salesforce/{name}.py", _SALESFORCE) for name in _SALESFORCE_MODULES),
    *(Target(f"agreed/{name}.py", _SEALS) for name in ("seals", "seal_check")),
    *(
        Target(f"retention/{name}.py", (f"tests/retention/test_{own}.py", "tests/retention"))
        for name, own in _RETENTION.items()
    ),
    Target("crm/retention.py", ("tests/retention/test_bounds.py",)),
    Target("warehouse/pruned.py", ("tests/retention/test_prune_run.py", "tests/retention")),
)
