"""Configuration files as people outside the company may see them: without secrets and names of people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from enerflo_sync.crm.account_files import FOLDER, config_files

# Sections whose texts are names of tables, columns and rules. Elsewhere texts are addresses, keys or people.
_STRUCTURE = frozenset(
    "version poll webhooks reconcile statuses writes approval tables columns quality change_orders".split()
)
# Options whose texts a person wrote freely: conditions, labels, templates.
_FREE = frozenset("where deleted_when values text unlinked also default_value on_insert create_when".split())
_VARIABLE = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?|true|false|null|~|")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_ACCOUNT_WORDS = frozenset({"mode", "cron", "enabled"})
_CRON = re.compile(r"[0-9*/, -]+")


def shown_config(path: Path) -> Any:
    """Return the options of a configuration file; a text that is not a plain name is replaced by its length.

    Variables stay as ``${NAME}``.
    """
    return _shown(_read(path), ())


def shown_account_files(config: Path) -> dict[str, Any]:
    """Return by account the options of its own file beside ``config``, by the same rules.

    For a file that cannot be read, only the kind of the error is returned: its text may quote the file.
    """
    found: dict[str, Any] = {}
    for path in config_files(config)[1:]:
        try:
            shown = _shown(_read(path), (FOLDER, path.stem))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            shown = {"not_made": type(error).__name__}
        # A file name that is not an account's, such as west.yml, is shown with its ending.
        found[_key(path.stem if path.suffix == ".yaml" else path.name)] = shown
    return found


def _read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506


def _shown(value: Any, place: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        if place and place[-1] in _FREE:
            return f"({len(value)} entries)"
        return {_key(name): _shown(inner, (*place, str(name))) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner, place) for inner in value]
    return _text(str(value), place)


def _key(name: Any) -> str:
    return str(name) if _NAME.fullmatch(str(name)) else f"(a name of {len(str(name))} characters)"


def _text(text: str, place: tuple[str, ...]) -> str:
    if _VARIABLE.fullmatch(text) or (_NUMBER.fullmatch(text) and len(text) <= 6):
        return text
    free = any(part in _FREE for part in place)
    structure = bool(place) and place[0] in _STRUCTURE and not free and len(text) <= 64
    if structure and _NAME.fullmatch(text):
        return text
    in_account = place[:1] == ("accounts",)
    of_account = in_account and place[-1] in _ACCOUNT_WORDS
    of_schedule = place[:2] == ("defaults", "schedule") or (in_account and place[2:3] == ("schedule",))
    if (of_account or of_schedule) and (_NAME.fullmatch(text) or _CRON.fullmatch(text)):
        return text
    return f"(a text of {len(text)} characters)"
