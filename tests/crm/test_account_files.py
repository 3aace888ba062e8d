"""Accounts in files of their own, defaults for all of them, and what is refused of both."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from enerflo_sync.crm.account_files import config_files
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.doctor import finding
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.notice import Notice
from enerflo_sync.errors import ConfigurationError

TABLES = """\
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    fields:
      status: {enerflo: status_name, type: text}
"""
MAIN = f"""\
version: 1
defaults:
  group: all
  api_key: ${{ENERFLO_KEY_{{account}}}}
  webhook_drop_uri: s3://drops/{{account}}
  schedule: {{poll: "7 * * * *", time_zone: America/Denver}}
  airflow:
    enerflo_connection: enerflo_{{account}}
    tags: [solar, "of_{{account}}"]
accounts:
  north: {{}}
{TABLES}"""
WEST = """\
# The west coast.
group: coast
schedule: {poll: "9 * * * *"}
tables:
  installs: {crm_table: crm_west.installs}
"""


def write(folder: Path, main: str = MAIN, **accounts: str) -> Path:
    """Write sync.yaml, and a file for each account."""
    (folder / "sync.yaml").write_text(main)
    (folder / "accounts").mkdir(exist_ok=True)
    for name, text in accounts.items():
        (folder / "accounts" / f"{name}.yaml").write_text(text)
    return folder / "sync.yaml"


def load(
    folder: Path, main: str = MAIN, environ: dict[str, str] | None = None, **accounts: str
) -> SyncConfig:
    return load_config(write(folder, main, **accounts), environ or {})


def mistakes(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """Return the lines of the error, with paths as seen from the folder of sync.yaml."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, environ or {}).require_all()
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_accounts_of_both_places_are_together_and_get_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, west=WEST)
    assert list(config.accounts) == ["north", "west"]
    north, west = config.account("north"), config.account("west")
    assert (north.name, west.name) == ("north", "west")
    assert (north.group, west.group) == ("all", "coast")
    # Maps are merged option by option, and at every level.
    assert (north.schedule.poll, west.schedule.poll) == ("7 * * * *", "9 * * * *")
    assert {one.schedule.time_zone for one in (north, west)} == {"America/Denver"}
    tables = [config.tables_for(name)["installs"].crm_table for name in config.accounts]
    assert tables == ["crm.installs", "crm_west.installs"]


def test_a_list_or_a_value_takes_the_place_of_the_default(tmp_path: Path) -> None:
    own = "airflow: {tags: [mine]}\nwebhook_drop_uri:\n"
    config = load(tmp_path, west=own)
    assert config.account("west").airflow.tags == ["mine"]
    assert config.account("west").airflow.enerflo_connection == "enerflo_west"
    assert not config.account("west").has_drop
    assert config.account("north").has_drop


def test_a_default_names_the_account_and_its_variables(tmp_path: Path) -> None:
    config = load(tmp_path, environ={"ENERFLO_KEY_WEST": "k"}, west="{}\n")
    west, north = config.account("west"), config.account("north")
    assert (west.webhook_drop_uri, north.webhook_drop_uri) == ("s3://drops/west", "s3://drops/north")
    assert west.airflow.tags == ["solar", "of_west"]
    assert (west.need("api_key"), north.api_key) == ("k", None)
    with pytest.raises(
        ConfigurationError, match=r"accounts\.north\.api_key: .* ENERFLO_KEY_NORTH is not set"
    ):
        north.need("api_key")


def test_an_account_says_where_it_stands(tmp_path: Path) -> None:
    config = load(tmp_path, west=WEST)
    west, main = tmp_path / "accounts" / "west.yaml", tmp_path / "sync.yaml"

    def at(*place: str) -> str:
        return str(config.spot("accounts", *place))

    assert at("west", "schedule", "poll") == f"{west}:3"
    assert at("west", "mode") == f"{west}:1"
    assert at("west", "webhook_drop_uri") == f"{main}:5"
    assert at("north", "schedule", "poll") == f"{main}:6"
    assert at("north", "mode") == f"{main}:11"
    assert str(config.table_spot("west", "installs", "crm_table")) == f"{west}:5"
    assert str(config.table_spot("north", "installs", "crm_table")) == f"{main}:14"
    with pytest.raises(
        ConfigurationError, match=r"west\.yaml:1: accounts\.west\.warehouse_url: it has no value"
    ):
        config.account("west").need("warehouse_url")


def test_the_doctor_names_the_file_in_which_a_line_is_to_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path, west=WEST)
    notice = Notice("warning", ("crm_table",), "this", "that", "Do it.")
    found = {name: finding(config, name, "installs", notice, config.file) for name in config.accounts}
    assert str(found["west"]).startswith(f"{tmp_path}/accounts/west.yaml:5: tables.installs.crm_table: ")
    assert str(found["north"]).startswith(f"{tmp_path}/sync.yaml:14: tables.installs.crm_table: ")


def test_all_accounts_may_have_files_and_none_is_a_mistake(tmp_path: Path) -> None:
    main = f"version: 1\n{TABLES}"
    assert list(load(tmp_path, main, b="{}\n", a="{}\n").accounts) == ["a", "b"]
    assert list(load(tmp_path, f"version: 1\naccounts:\n{TABLES}").accounts) == ["a", "b"]
    for file in (tmp_path / "accounts").iterdir():
        file.unlink()
    [told] = mistakes(write(tmp_path, main))
    assert "accounts: found" in told
    assert "accounts/NAME.yaml" in told


def test_only_what_ends_like_an_account_and_is_not_hidden_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, west="{}\n")
    folder = tmp_path / "accounts"
    for name in ("README.md", ".east.yaml", "west.yaml~", "west.yaml.bak", "#west.yaml#"):
        (folder / name).write_text("- nothing of ours")
    (folder / "..data").mkdir()
    (folder / "older").mkdir()
    # As Kubernetes mounts a ConfigMap.
    (folder / "..data" / "south.yaml").write_text("{}\n")
    (folder / "south.yaml").symlink_to(Path("..data") / "south.yaml")
    assert list(load_config(path, {}).accounts) == ["north", "south", "west"]
    assert [file.name for file in config_files(path)] == ["sync.yaml", "south.yaml", "west.yaml"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "north.yaml",
            "{}\n",
            "accounts/north.yaml:1: accounts.north: found the account north a second time (first in sync.yaml:11),"
            " expected each account once.",
        ),
        (
            "west.yaml",
            "",
            "accounts/west.yaml:1: accounts.west: found an empty file, expected the account's options, or {} where"
            " defaults says all.",
        ),
        ("west.yaml", "- a\n", "accounts/west.yaml:1: accounts.west: found a single value or a list"),
        ("west.yaml", "a: [1\n", "accounts/west.yaml:2: accounts.west: found"),
        (
            "west.yaml",
            "mode: report\nmode: crm\n",
            "accounts/west.yaml:2: accounts.west.mode: found mode a second",
        ),
        (
            "west.yaml",
            "group: a\nshedule: {}\n",
            "accounts/west.yaml:2: accounts.west.shedule: found the unknown option shedule",
        ),
        ("west.yaml", "mode: crmm\n", "accounts/west.yaml:1: accounts.west.mode: found the text 'crmm'"),
        (
            "west.yaml",
            "schedule: {poll: often}\n",
            "accounts/west.yaml:1: accounts.west.schedule.poll: found 'often'",
        ),
        (
            "west.yaml",
            "mode: ${NOWHERE}\n",
            "accounts/west.yaml:1: accounts.west.mode: found the unset variable",
        ),
        (
            "west.yaml",
            "tables: {orders: {mode: report}}\n",
            "accounts/west.yaml:1: accounts.west.tables.orders: found the table orders",
        ),
        (
            "west.yml",
            "{}\n",
            "accounts/west.yml:1: accounts.west: found the ending .yml, expected west.yaml.",
        ),
        (
            "West.yaml",
            "{}\n",
            "accounts/West.yaml:1: accounts: found the account name 'West', expected a small",
        ),
        ("my west.yaml", "{}\n", "accounts/my west.yaml:1: accounts: found the account name 'my west'"),
        ("west.yaml", "group: West\n", "accounts/west.yaml:1: accounts.west.group: found the text 'West'"),
        (
            "west.yaml",
            "schedule: {time_zone: Denver}\n",
            "accounts.west.schedule.time_zone: found the text 'Denver', expected a time zone, as in America/Denver;"
            " did you mean America/Denver?",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_with_that_file_and_its_line(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    path = write(tmp_path)
    (tmp_path / "accounts" / name).write_text(text)
    [told] = mistakes(path)
    assert expected in told
    assert f"Correct {name} and run it again." in told


@pytest.mark.parametrize(
    "text",
    ["", "- a\n", "a: [1\n", "mode: report\nmode: crm\n", "shedule: {}\n", "mode: crmm\n", "mode: ${NO}\n"],
)
def test_a_mistake_in_an_accounts_own_file_leaves_out_that_account_alone(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, west=text, east=WEST)
    assert (list(config.accounts), list(config.unusable)) == (["north", "east"], ["west"])
    assert config.names == ["north", "east", "west"]
    assert config.tables_for("east")["installs"].crm_table == "crm_west.installs"
    for ask in (config.account, config.tables_for):
        with pytest.raises(
            ConfigurationError, match=r"accounts/west\.yaml:\d: accounts\.west.*Correct west\.yaml"
        ):
            ask("west")
    # The hash of others is as without it: no row is compared again.
    (tmp_path / "accounts" / "west.yaml").write_text("{}\n")
    whole = load_config(tmp_path / "sync.yaml", {})
    assert whole.comparison_hash("east") == config.comparison_hash("east")
    assert not whole.unusable


def test_of_an_account_with_two_files_or_places_none_is_taken(tmp_path: Path) -> None:
    """Nobody can say which of the two was meant, so nothing is written by either."""
    path = write(tmp_path, north="{}\n", west="{}\n", east="{}\n")
    (tmp_path / "accounts" / "west.yml").write_text("{}\n")
    config = load_config(path, {})
    assert (list(config.accounts), sorted(config.unusable)) == (["east"], ["north", "west"])


def test_where_no_account_is_left_all_mistakes_are_the_error(tmp_path: Path) -> None:
    path = write(tmp_path, f"version: 1\n{TABLES}", a="mode: x\n", b="grup: c\n")
    with pytest.raises(ConfigurationError, match=r"(?s)a\.yaml:1: .*b\.yaml:1: "):
        load_config(path, {})


def test_a_variable_of_one_account_that_is_not_set_leaves_out_that_account_alone(tmp_path: Path) -> None:
    main = MAIN.replace("  group: all\n", "  group: all\n  mode: ${MODE_{account}}\n", 1)
    path, environ = write(tmp_path, main, west="{}\n", east="{}\n"), {"MODE_NORTH": "crm", "MODE_WEST": "crm"}
    config = load_config(path, environ)
    assert (list(config.accounts), list(config.unusable)) == (["north", "west"], ["east"])
    assert mistakes(path, environ)[0].startswith(
        "sync.yaml:4: defaults.mode: found the unset variable MODE_EAST, expected MODE_EAST in the environment"
    )
    assert len(mistakes(path, {"MODE_NORTH": "crm"})) == 2


def test_a_route_may_name_an_account_that_cannot_be_used(tmp_path: Path) -> None:
    main = MAIN + "notify:\n  routes: {r: {email: {to: [a@b.c]}, accounts: [west]}}\n"
    assert list(load(tmp_path, main, west="mode: x\n").unusable) == ["west"]
    (tmp_path / "accounts" / "west.yaml").rename(tmp_path / "accounts" / "West.yaml")
    assert list(load_config(tmp_path / "sync.yaml", {}).unusable) == ["West"]


def test_an_account_that_cannot_be_used_is_of_every_group(tmp_path: Path) -> None:
    """The mistake may be in its group, and no run of a group is to end well without an account of it."""
    config = load(tmp_path, west="grup: coast\n", south="group: coast\n")
    assert config.accounts_of("coast") == ["south", "west"]
    assert config.accounts_of("all") == ["north", "west"]


def test_files_that_cannot_be_read_are_told_together_and_nothing_else_is(tmp_path: Path) -> None:
    path = write(
        tmp_path, main=MAIN + "notify:\n  routes: {r: {email: {to: [a@b.c]}, accounts: [gone, bytes]}}\n"
    )
    folder = tmp_path / "accounts"
    (folder / "gone.yaml").symlink_to(folder / "nowhere.yaml")
    (folder / "bytes.yaml").write_bytes(b"group: \xff\n")
    (folder / "sub.yaml").mkdir()
    assert mistakes(path) == [
        "accounts/bytes.yaml:1: accounts.bytes: found bytes that are no UTF-8 text, expected UTF-8 text.",
        "accounts/gone.yaml:1: accounts.gone: found a link that leads nowhere, expected a file that this process"
        " may read.",
        "accounts/sub.yaml:1: accounts.sub: found no readable file (Is a directory), expected a file that this"
        " process may read.",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, west="{}\n")
    (tmp_path / "accounts" / "west.yaml").chmod(0)
    [told] = mistakes(path)
    assert "accounts/west.yaml:1: accounts.west: found no readable file (Permission denied)" in told


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    folder = tmp_path / "accounts"
    folder.rmdir()
    assert list(load_config(path, {}).accounts) == ["north"]
    folder.symlink_to(tmp_path / "not_mounted")
    assert "accounts:1: accounts: found a link that leads nowhere" in mistakes(path)[0]
    folder.unlink()
    folder.write_text("../elsewhere")
    assert "accounts:1: accounts: found a file, expected a folder of files NAME.yaml" in mistakes(path)[0]


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("group: all", "sync.yaml:3: defaults.grup: found the unknown option grup"),
        (
            'poll: "7 * * * *"',
            "sync.yaml:6: defaults.schedule.poll: found 'never', expected five cron fields",
        ),
        ("America/Denver", "sync.yaml:6: defaults.schedule.time_zone: found the text 'Denver'"),
        ("s3://drops/{account}", "sync.yaml:5: defaults.webhook_drop_uri: found a value, expected text"),
        ("tags: [solar", "sync.yaml:9: defaults.airflow.tags.0: found 5, expected text"),
    ],
)
def test_a_mistake_in_the_defaults_is_told_once(tmp_path: Path, default: str, expected: str) -> None:
    wrong = {
        "group: all": "grup: all",
        'poll: "7 * * * *"': "poll: never",
        "America/Denver": "Denver",
        "s3://drops/{account}": '["{account}"]',
        "tags: [solar": "tags: [5",
    }[default]
    [told] = mistakes(write(tmp_path, MAIN.replace(default, wrong, 1), west="{}\n", east="{}\n"))
    assert expected in told


def test_defaults_have_no_tables_since_all_accounts_share_those_of_the_file(tmp_path: Path) -> None:
    main = MAIN.replace("  group: all\n", "  tables: {installs: {mode: crm}}\n", 1)
    [told] = mistakes(write(tmp_path, main, west="{}\n"))
    assert "sync.yaml:3: defaults.tables: found the unknown option tables" in told


def test_all_mistakes_are_told_file_by_file(tmp_path: Path) -> None:
    path = write(tmp_path, MAIN.replace("type: text", "type: txt"), b="modus: 1\n", a="mode: x\ngroup: X\n")
    assert [line.partition(": ")[0] for line in mistakes(path)] == [
        "sync.yaml:17",
        "accounts/a.yaml:1",
        "accounts/a.yaml:2",
        "accounts/b.yaml:1",
    ]


def test_the_hash_of_an_account_is_its_own(tmp_path: Path) -> None:
    """The first run after a change of the hash compares every row again."""
    before = load(tmp_path, west=WEST)
    after = load(tmp_path, west=WEST.replace("crm_west.installs", "crm_west.others"))
    assert before.comparison_hash("north") == after.comparison_hash("north")
    assert before.comparison_hash("west") != after.comparison_hash("west")


def test_the_hash_is_the_same_in_a_file_of_its_own_and_in_the_one_file(tmp_path: Path) -> None:
    apart = load(tmp_path, west=WEST)
    (tmp_path / "accounts" / "west.yaml").unlink()
    indented = "".join(f"    {line}\n" for line in WEST.splitlines())
    together = load(tmp_path, MAIN.replace("  north: {}\n", f"  north: {{}}\n  west:\n{indented}"))
    for name in ("north", "west"):
        assert apart.comparison_hash(name) == together.comparison_hash(name)


def test_the_hash_of_the_shipped_file_is_that_of_earlier_releases() -> None:
    """Where it changes, every set-up compares all rows again: raise COMPARISON_VERSION only for a reason."""
    config = load_config(Path("include/config/sync.yaml"), {})
    assert (
        config.comparison_hash("default")
        == "fd4ab6740221f4d1da69b813c2e5a8584f56a2e8019e0b67fd739ef9a7cc0082"
    )


def test_a_group_has_its_accounts_and_an_unknown_one_is_told_the_known(tmp_path: Path) -> None:
    config = load(tmp_path, west=WEST, south="group: coast\n")
    assert config.accounts_of("coast") == ["south", "west"]
    with pytest.raises(
        ConfigurationError, match=r"no account is of the group cost.* one of all, coast .*coast\?"
    ):
        config.accounts_of("cost")
    alone = load_config(Path("include/config/sync.yaml"), {})
    with pytest.raises(ConfigurationError, match="No account has a group; write group: west in some"):
        alone.accounts_of("west")


def test_both_layouts_of_the_page_are_the_same_configuration(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", Path("docs/accounts.md").read_text(), re.DOTALL)
    whole, main, north = blocks[:3]
    (tmp_path / "one").mkdir()
    (tmp_path / "apart").mkdir()
    environ = {"WAREHOUSE_URL": "postgresql://w", "ENERFLO_API_KEY_WEST": "k"}
    one = load(tmp_path / "one", whole, environ)
    apart = load(tmp_path / "apart", main, environ, west="group: coast\n", east="group: coast\n", north=north)
    assert set(one.accounts) == set(apart.accounts) == {"west", "east", "north"}
    for config in (one, apart):
        west = config.account("west")
        assert (west.api_key, west.webhook_drop_uri) == ("k", "s3://acme-webhooks/west")
        assert west.airflow.enerflo_connection == "enerflo_west"
        assert config.tables_for("north")["installs"].crm_table == "sales_north.projects"
    assert one.account("north").schedule.time_zone == "America/Denver"
    assert (one.account("north").has_drop, one.account("west").has_drop) == (False, True)
    for name in one.accounts:
        assert one.comparison_hash(name) == apart.comparison_hash(name)
