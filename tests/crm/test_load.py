"""sync.yaml: what it may say, and that every mistake is named with its line and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import Mode, NullRule, SourceOfTruth
from enerflo_sync.errors import ConfigurationError
from tests.crm.conftest import load, mistakes

SHIPPED = Path("include/config/sync.yaml")

SMALL = """\
version: 1
accounts:
  default:
    api_key: ${ENERFLO_API_KEY}
    base_url: ${BASE:-https://enerflo.io}
  second: {api_key: "${SECOND_KEY}", tables: {installs: {crm_table: crm_b.installs, fields: {panel_count: null,
    status: {trim: true}, size: {enerflo: system_size_kw, type: number}}}}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    fields:
      status: {enerflo: status_name, type: text, fold_case: true}
      panel_count: {enerflo: panel_count, type: integer}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_the_shipped_file_loads_without_any_variable_and_writes_nothing() -> None:
    config = load_config(SHIPPED, {})
    assert list(config.tables_for("default")) == ["leads", "installs", "milestones", "notes", "change_orders"]
    assert config.account("default").mode is Mode.REPORT
    fields = config.tables_for("default")["installs"].fields
    assert {name: field.source_of_truth for name, field in fields.items()} == {
        name: SourceOfTruth.NEWEST if name == "status" else SourceOfTruth.ENERFLO for name in fields
    }


def test_an_unset_variable_is_an_error_only_when_its_account_needs_it(folder: Path) -> None:
    config = load(folder, SMALL, ENERFLO_API_KEY="k")
    assert config.account("default").need("api_key") == "k"
    assert config.account("default").need("base_url") == "https://enerflo.io"
    with pytest.raises(
        ConfigurationError, match=r"accounts\.second\.api_key: .* variable SECOND_KEY is not set"
    ):
        config.account("second").need("api_key")
    with pytest.raises(ConfigurationError, match="warehouse_url: it has no value"):
        config.account("default").need("warehouse_url")
    with pytest.raises(ConfigurationError, match=r"sync\.yaml:4: accounts\.default\.api_key: .* is not set"):
        load(folder, SMALL).account("default").need("api_key")


def test_variables_fill_numbers_and_secrets_stay_text(folder: Path) -> None:
    text = SMALL + "poll:\n  per_page: ${N:-200}\n"
    config = load(folder, text, ENERFLO_API_KEY="0123")
    assert (config.poll.per_page, config.account("default").api_key) == (200, "0123")
    assert mistakes(folder, text, N="many") == [
        "16: poll.per_page: found the text 'many', expected a whole number. Correct sync.yaml and run it again."
    ]
    assert "the unset variable MISSING" in mistakes(folder, SMALL + "poll:\n  per_page: ${MISSING}\n")[0]


@pytest.mark.parametrize(
    ("written", "may_be"),
    [
        (SMALL + "shadowing: {after: 3}\n", True),
        (SMALL + "poll:\n  streams: 3\n", True),
        (SMALL.replace("version: 1", "version: 2"), True),
        # A typing mistake, and a wrong value.
        (SMALL + "poll:\n  per_pge: 200\n", False),
        (SMALL + "poll:\n  per_page: many\n", False),
    ],
)
def test_an_option_that_a_newer_version_may_have_is_said_to_be_that(
    folder: Path, written: str, may_be: bool
) -> None:
    assert written != SMALL
    told = " ".join(mistakes(folder, written))
    assert ("is for a newer version of enerflo-sync" in told) is may_be


def test_a_secret_is_never_shown(folder: Path) -> None:
    config = load(folder, SMALL, ENERFLO_API_KEY="topsecret")
    with pytest.raises(ConfigurationError) as caught:
        config.account("default").need("webhook_drop_uri")
    assert "topsecret" not in str(caught.value)
    assert "hush" not in " ".join(
        mistakes(folder, SMALL.replace("api_key: $", "api_key: [hush]\n    x: $", 1))
    )


def test_an_account_overrides_tables_fields_and_options(folder: Path) -> None:
    config = load(folder, SMALL)
    own, shared = config.tables_for("second")["installs"], config.tables_for("default")["installs"]
    assert (own.crm_table, shared.crm_table) == ("crm_b.installs", "crm.installs")
    assert (list(own.fields), list(shared.fields)) == (["status", "size"], ["status", "panel_count"])
    assert (own.fields["status"].fold_case, own.fields["status"].trim, shared.fields["status"].trim) == (
        True,
        True,
        False,
    )


def test_an_unknown_account_is_told_the_nearest(folder: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"sync.yaml:2: .*one of default, second; did you mean second\?"
    ):
        load(folder, SMALL).account("secnd")


def test_the_hash_depends_on_what_is_said_and_not_on_how(folder: Path) -> None:
    config = load(folder, SMALL)
    same = load(folder, "# a comment\n" + SMALL.replace("type: text,", "trim: false, type: text,"))
    other = load(folder, SMALL.replace("fold_case: true", "fold_case: false"))
    assert config.hash("default") == same.hash("default")
    assert config.hash("default") != other.hash("default")
    assert config.hash("default") != config.hash("second")


def test_the_null_option_and_words_that_yaml_1_1_takes_for_booleans_are_text(folder: Path) -> None:
    text = SMALL.replace("fold_case: true", "null: ignore, values: {on: off, yes: no, 12:30: 1e}")
    field = load(folder, text).tables_for("default")["installs"].fields["status"]
    assert (field.null, field.values) == (NullRule.IGNORE, {"on": "off", "yes": "no", "12:30": "1e"})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "fold_case",
            "fold_cse",
            "13: tables.installs.fields.status.fold_cse: found the unknown option fold_cse",
        ),
        ("fold_case", "fold_cse", "did you mean fold_case?"),
        (
            "type: text",
            "type: txt",
            "13: tables.installs.fields.status.type: found the text 'txt', expected one of",
        ),
        ("type: text", "type: txt", "did you mean text?"),
        (
            "status_name",
            "status_nam",
            "13: tables.installs.fields.status.enerflo: found the column status_nam",
        ),
        ("status_name", "status_nam", "did you mean status_name?"),
        (
            "type: integer",
            "type: timestamp",
            "found type timestamp for the mirror's column panel_count (integer)",
        ),
        ("type: integer", "type: integer, tolerance: 1", "found tolerance with type integer"),
        ("type: integer", "type: integer, personal_data: nam", "did you mean name?"),
        ("crm.installs", "installs", "10: tables.installs.crm_table: found the text 'installs'"),
        (
            "{enerflo_install_id: install_id}",
            "[id]",
            "11: tables.installs.key: found a list of columns and no join",
        ),
        ("{enerflo_install_id: install_id}", "{x: instal_id}", "did you mean install_id?"),
        ("    crm_table", "    time_zone: Denver\n    crm_table", "did you mean America/Denver?"),
        (
            "    crm_table",
            "    crm_table: a.b\n    crm_table",
            "11: tables.installs.crm_table: found crm_table a second",
        ),
        ("  installs:\n", "  instals:\n", "did you mean installs?"),
        ("version: 1", "version: 0", "1: version: found 0, expected 1"),
        ("  second:", "  Second:", "6: accounts.Second: found the account name 'Second'"),
        (
            "version: 1",
            "version: 1\npoll: {per_page: 5.5}",
            "2: poll.per_page: found 5.5, expected a whole number",
        ),
        ("version: 1", "version: 1\npoll: {per_page: 0}", "2: poll.per_page: found 0, expected at least 1"),
        ("version: 1", "version: 1\npoll: {per_page: 30, min_per_page: 40}", "expected at most per_page, 30"),
        (
            "version: 1",
            "version: 1\nstatuses: {on_hold: [4]}",
            "found a list, expected text or a whole number",
        ),
        ("trim: true", "trimm: true", "accounts.second.tables.installs.fields.status.trimm"),
        (
            "trim: true",
            "tolerance: 1",
            "7: accounts.second.tables.installs.fields.status.tolerance: found tolerance",
        ),
        ("version: 1", "version: [1", "a YAML document"),
        ("version: 1", "\tversion: 1", "indented by blanks and not by tabs"),
        (
            "crm_table: crm.inst",
            'crm_table: "crm.inst',
            "end of stream at column 1 in the quoted text that begins on line 10,",
        ),
        ("version: 1", "version: {1\naccounts: {}", "found no ',' or '}' at column "),
        ("version: 1", "version: {1\naccounts: {}", " in the { } that begins on line 1, expected"),
        ("version: 1", "a: &x {b: *x}\nversion: 1", "an alias of itself"),
        ("version: 1", "version: \x01", "characters that YAML does not allow"),
    ],
)
def test_a_mistake_is_named(folder: Path, old: str, new: str, expected: str) -> None:
    assert old in SMALL
    found = mistakes(folder, SMALL.replace(old, new, 1))
    assert any(expected in line for line in found), found


def test_all_mistakes_are_named_at_once_in_the_order_of_the_lines(folder: Path) -> None:
    text = SMALL.replace("fold_case", "fold").replace("crm.installs", "installs").replace("1\n", "0\n", 1)
    text += "  notes: {crm_table: crm, key: {a: b}, fields: {c: {enerflo: d, type: text}}}\n"
    assert [line.partition(":")[0] for line in mistakes(folder, text)] == ["1", "13", "15", "15", "15"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found an empty file"),
        ("- a", "found a single value or a list"),
        ("a: 'b", "1: found unexpected end"),
    ],
)
def test_what_is_no_map_of_options_is_refused(folder: Path, text: str, expected: str) -> None:
    assert expected.removeprefix("1: ") in mistakes(folder, text)[0]


def test_a_file_that_cannot_be_read_says_where_it_was_looked_for(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: .*No such file.*ENERFLO_SYNC_CONFIG"):
        load_config(folder / "none.yaml", {})
    (folder / "latin.yaml").write_bytes(b"version: \xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_config(folder / "latin.yaml", {})


def test_merge_keys_share_options(folder: Path) -> None:
    text = SMALL.replace(
        "{enerflo: panel_count, type: integer}", "{<<: &n {type: integer}, enerflo: panel_count}"
    )
    assert load(folder, text).tables_for("default")["installs"].fields["panel_count"].type == "integer"
