"""Columns of the mirror that only plans take are known before one is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.sent_along import sent_columns
from tests.crm.conftest import load, mistakes

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  leads:
    crm_table: crm.leads
    key: [lead_id]
    join: {enerflo_customer_id: customer_id}
    adopt: {lead_id: integration_record_id}
    on_insert: {lead_id: ["{integration_record_id}", "enerflo-{customer_id}"], seen: "{observed_at}"}
    fields:
      email: {enerflo: email, type: text, personal_data: email}
"""


def test_columns_that_the_mirror_has_are_right(tmp_path: Path) -> None:
    table = load(tmp_path, CONFIG).tables_for("default")["leads"]
    assert table.adopt == {"lead_id": "integration_record_id"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "enerflo-{customer_id}",
            "enerflo-{custmer_id}",
            "9: tables.leads.on_insert.lead_id: found the column custmer_id",
        ),
        ("enerflo-{customer_id}", "enerflo-{custmer_id}", "did you mean customer_id?"),
        ("enerflo-{customer_id}", "enerflo-{customer_id", "found a brace without its other half"),
        ("integration_record_id}\n", "record}\n", "8: tables.leads.adopt.lead_id: found the column record"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in CONFIG
    found = mistakes(tmp_path, CONFIG.replace(old, new))
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        (
            "{note: {text: '{body'}}",
            "3: writes.note.text: found the text '{body', expected text with {column} in it, and not a brace without its"
            " other half",
        ),
        (
            "{lead: {also: {createDeal: ['{kind}', '{}']}}}",
            "3: writes.lead.also.createDeal: found a list, expected text with {column} in it, and not {} names"
            " no column",
        ),
        (
            "{appointment: {type: 1, start: '{appointment_at}'}}",
            "3: writes.appointment.start: found the text '{appointment_at}', expected the name of a column alone,"
            " as in appointment_at, without braces",
        ),
        (
            "{appointment: {type: 1, start: 'first|second'}}",
            "found the text 'first|second', expected the name of a column alone",
        ),
        ("{appointment: {type: 1, start: ''}}", "found the text '', expected the name of a column alone"),
    ],
)
def test_a_mistake_in_what_is_sent_along_is_named(tmp_path: Path, writes: str, expected: str) -> None:
    text = CONFIG.replace("accounts: {default: {}}\n", f"accounts: {{default: {{}}}}\nwrites: {writes}\n")
    assert text != CONFIG
    found = mistakes(tmp_path, text)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize("name", ["Deal Type", "Größe in kW", "%s :x", "o'neil", " led "])
def test_a_column_of_any_name_may_stand_in_a_text(tmp_path: Path, name: str) -> None:
    text = CONFIG.replace(
        "accounts: {default: {}}\n",
        f'accounts: {{default: {{}}}}\nwrites: {{lead: {{also: {{createDeal: "{{{name}}}"}}}}}}\n',
    )
    assert sent_columns(RecordKind.LEADS, load(tmp_path, text)) == [name]


NEWEST = """\
version: 1
accounts: {default: {}}
tables:
  milestones:
    crm_table: crm.milestones
    key: {install: install_id, milestone: milestone_id}
    updated_at: changed
    fields:
      due: {enerflo: due_at, type: timestamp, source_of_truth: newest}
"""


def test_the_later_side_is_no_rule_of_a_table_that_does_not_say_when_its_rows_changed(tmp_path: Path) -> None:
    assert load(tmp_path, NEWEST).tables_for("default")["milestones"].updated_at == "changed"
    found = mistakes(tmp_path, NEWEST.replace("    updated_at: changed\n", ""))
    (line,) = found
    assert line.startswith(
        "8: tables.milestones.fields.due.source_of_truth: found newest in a table without updated_at, expected"
        " updated_at: the CRM's column with the row's last change, beside the fields; or enerflo, crm or review."
    )


def test_rows_may_be_marked_instead_of_deleted(tmp_path: Path) -> None:
    text = CONFIG.replace("    fields:\n", "    deleted_when: {IsDeleted: true}\n    fields:\n", 1)
    table = load(tmp_path, text).tables_for("default")["leads"]
    assert table.deleted_when == {"IsDeleted": True}
    both = text.replace("    fields:\n", "    delete_in: [crm]\n    fields:\n", 1)
    assert load(tmp_path, both).tables_for("default")["leads"].deleted_when == {"IsDeleted": True}


def test_changed_rows_are_found_by_one_column(tmp_path: Path) -> None:
    trusted = CONFIG.replace("    fields:\n", "    updated_at_set_at_commit: true\n    fields:\n", 1)
    assert "without updated_at" in mistakes(tmp_path, trusted)[0]
    both = trusted.replace("    fields:\n", "    updated_at: u\n    arrived_at: a\n    fields:\n", 1)
    assert (
        "10: tables.leads.updated_at_set_at_commit: found true, with arrived_at"
        in mistakes(tmp_path, both)[0]
    )


ONE_TABLE = """version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: sales.jobs
    key: {enerflo_id: install_id}
    updated_at: changed
    fields:
      status: {enerflo: status_name, type: text, source_of_truth: crm}
  solar:
    of: installs
    crm_table: sales.jobs
    where: "kind = 'solar'"
    key: [job]
    join: {enerflo_id: install_id}
    updated_at: changed
    fields:
      status: {enerflo: status_name, type: text, source_of_truth: crm}
"""


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("", "", "the column status in both"),
        ("  status: {enerflo: status_name, type: text, source_of_truth: crm}\n  solar",
         "  state: {enerflo: status_name, type: text, source_of_truth: newest}\n  solar",
         "a field of newest in one of them"),
    ],
)  # fmt: skip
def test_tables_of_one_crm_table_that_write_the_same_have_one_key(
    tmp_path: Path, old: str, new: str, what: str
) -> None:
    (line,) = mistakes(tmp_path, ONE_TABLE.replace(old, new, 1))
    assert line.startswith(
        f"14: tables.solar.key: found job for sales.jobs, with {what}; installs has the key enerflo_id,"
        " expected the same key columns in both tables"
    )
    load(
        tmp_path,
        ONE_TABLE.replace("key: {enerflo_id: install_id}", "key: [job]\n    join: {enerflo_id: install_id}"),
    )
    load(tmp_path, ONE_TABLE.replace("status: {e", "state: {e", 1))
    for mode in ("report", "crm"):
        load(tmp_path, ONE_TABLE.replace("mode: both", f"mode: {mode}"))
