"""What Airflow learns of the package, and that it executes none of its modules as a plugin file."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow import plugins_manager
from airflow._shared.module_loading import find_path_from_directory
from airflow.models.connection import Connection
from airflow.providers_manager import ProvidersManager
from enerflo_airflow.plugin import EnerfloReportsPlugin

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import open_account
from enerflo_sync.provider_info import get_provider_info
from tests.airflow_environment import PLUGINS


def executed(folder: Path) -> list[Path]:
    found = map(Path, find_path_from_directory(str(folder), ".airflowignore", "glob"))
    return [path for path in found if path.suffix == ".py"]


def test_none_of_our_modules_is_executed_as_a_plugin_file() -> None:
    """Airflow would register each under its bare name, where an ``operators`` shadows another one."""
    assert executed(PLUGINS) == []
    assert len(list(PLUGINS.rglob("*.py"))) > 5


def test_plugin_files_of_others_beside_ours_are_not_hidden(tmp_path: Path) -> None:
    shutil.copytree(PLUGINS, tmp_path / "plugins")
    (tmp_path / "plugins" / "theirs.py").write_text("")
    (tmp_path / "plugins" / "more").mkdir()
    (tmp_path / "plugins" / "more" / "of_theirs.py").write_text("")
    assert sorted(path.name for path in executed(tmp_path / "plugins")) == ["of_theirs.py", "theirs.py"]


def test_the_plugin_loads_without_an_error_and_is_registered_once() -> None:
    plugins, errors = plugins_manager._get_plugins()
    assert errors == {}
    assert [plugin.name for plugin in plugins].count("enerflo_reports") == 1


def test_what_an_earlier_version_had_copied_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "enerflo_reports_plugin.py").write_text("")
    (tmp_path / "enerflo_airflow").mkdir()
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(tmp_path))
    with caplog.at_level("WARNING"):
        EnerfloReportsPlugin.on_load()
    assert f"{tmp_path}: found enerflo_reports_plugin.py and enerflo_airflow, expected nothing" in caplog.text
    caplog.clear()
    for folder in (PLUGINS, tmp_path / "nothing"):
        monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(folder))
        EnerfloReportsPlugin.on_load()
    assert caplog.text == ""


def test_the_plugin_has_a_place_in_the_menu_and_on_every_run() -> None:
    views, _ = plugins_manager._get_ui_plugins()
    ours = {view["destination"]: view for view in views if view["name"].startswith("Enerflo")}
    assert ours["nav"]["href"] == "/enerflo/accounts"
    assert ours["nav"]["nav_top_level"] is True
    assert ours["nav"]["icon"].startswith("data:image/svg+xml,")
    assert ours["dag_run"]["href"] == "/enerflo/run?dag_id={DAG_ID}&run_id={RUN_ID}"
    (card,) = EnerfloReportsPlugin.react_apps
    assert (card["destination"], card["bundle_url"]) == ("dashboard", "/enerflo/card.js")


def test_the_connection_type_is_listed_with_its_form() -> None:
    manager = ProvidersManager()
    hook: Any = manager.hooks["enerflo"]
    assert hook.hook_name == "Enerflo"
    assert hook.hook_class_name == "enerflo_airflow.hook.EnerfloHook"
    behaviour = manager.field_behaviours["enerflo"]
    assert behaviour["relabeling"]["password"] == "API key"
    assert "port" not in behaviour["hidden-fields" if "hidden-fields" in behaviour else "hidden_fields"]
    widgets = {name for name in manager.connection_form_widgets if name.startswith("extra__enerflo__")}
    assert widgets == {f"extra__enerflo__{name}" for name in ("verify", "ca_bundle", "proxy")}


def test_airflow_finds_the_hook_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from enerflo_airflow.hook import EnerfloHook

    monkeypatch.setenv("AIRFLOW_CONN_OURS", '{"conn_type": "enerflo", "password": "a-key"}')
    hook = Connection(conn_id="ours", conn_type="enerflo").get_hook()
    assert isinstance(hook, EnerfloHook)
    assert hook.api_key == "a-key"


def test_the_provider_description_holds_no_defaults_that_are_secrets() -> None:
    [form] = get_provider_info()["connection-types"]
    defaults = {name: field["schema"].get("default") for name, field in form["conn-fields"].items()}
    assert defaults == {"verify": True, "ca_bundle": None, "proxy": None}


def test_the_command_line_opens_an_account_by_airflows_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ENERFLO_API_KEY", "WAREHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(
        "AIRFLOW_CONN_ENERFLO_DEFAULT", '{"conn_type": "enerflo", "host": "a.example", "password": "a-key"}'
    )
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", "postgresql://pat:word@db.example:5433/warehouse")
    with closing(open_account("default", os.environ)) as opened:
        assert opened.credentials.base_url() == "https://a.example"
        assert opened.credentials.api_key() == "a-key"
        assert opened.credentials.warehouse_url() == "postgresql+psycopg://pat:word@db.example:5433/warehouse"
    monkeypatch.delenv("AIRFLOW_CONN_ENERFLO_DEFAULT")
    with pytest.raises(
        ConfigurationError, match="Airflow connection enerflo_default: the connection is not defined"
    ) as missing:
        open_account("default", os.environ)
    assert "Or set the variables that sync.yaml names" in str(missing.value)
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://pat:word@other.example/warehouse")
    with closing(open_account("default", os.environ)) as opened:
        assert opened.credentials.warehouse_url().endswith("other.example/warehouse")
        with pytest.raises(ConfigurationError, match="ENERFLO_API_KEY is not set"):
            opened.credentials.api_key()
