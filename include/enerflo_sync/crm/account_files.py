"""The accounts of a configuration: in sync.yaml, or in files of the folder ``accounts`` beside it.

An account takes each option that it does not set itself from the section ``defaults`` of sync.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from enerflo_sync.crm.account import ACCOUNT_NAME
from enerflo_sync.crm.problems import Problem
from enerflo_sync.crm.source import Places, Source

FOLDER: Final = "accounts"
_ENDING: Final = ".yaml"
# Endings of account files that are mistakes; files with other endings are ignored (README.md, west.yaml.bak).
_LIKE_AN_ENDING: Final = (".yaml", ".yml")
_NAME_RULE: Final = "a small letter, then small letters, digits or _, 40 at most"


def account_file(config: Path, account: str) -> Path:
    """Return the file that an account has if sync.yaml itself does not contain it."""
    return config.parent / FOLDER / f"{account}{_ENDING}"


def config_files(config: Path) -> list[Path]:
    """Return the files of a configuration: sync.yaml, then the accounts' files by name."""
    try:
        found = sorted(path for path in (config.parent / FOLDER).iterdir() if _is_meant(path))
    except OSError:
        # Reading the configuration reports the reason.
        found = []
    return [config, *found]


def account_of(problem: Problem, config: Path) -> str:
    """Return the only account that a problem concerns; ``""`` if it concerns all accounts.

    A problem in an account's own file concerns that account alone.
    """
    file = Path(problem.file)
    return problem.account or (file.stem if file.parent == config.parent / FOLDER else "")


def add_account_files(source: Source, environ: Mapping[str, str], lazy: re.Pattern[str]) -> None:
    """Add the accounts that have files of their own to the content of sync.yaml."""
    folder = source.file.parent / FOLDER
    if (problem := _folder_problem(folder)) is not None:
        source.problems.append(problem)
        return
    data: dict[str, Any] = source.data
    files = config_files(source.file)[1:]
    if files and data.get("accounts") is None:
        data["accounts"] = {}
    accounts = data.get("accounts")
    if not isinstance(accounts, dict):
        # Reported as a mistake of sync.yaml.
        return
    for path in files:
        name = path.name.removesuffix(path.suffix)
        place = ("accounts", name)
        if (problem := _name_problem(path)) is not None:
            source.problems.append(problem)
        elif name in accounts:
            found = f"the account {name} a second time (first in {source.places.find(place)})"
            source.problems.append(Problem(str(path), 1, ".".join(place), found, "each account once"))
        else:
            # An account whose file is refused stays known, so that its name is not reported as unknown.
            part = _read(path, environ, lazy, source.problems)
            source.places.accounts[name] = part.places if part else Places(path, {place: 1})
            source.unset |= part.unset if part else {}
            accounts[name] = part.data if part else {}


def apply_defaults(source: Source) -> None:
    """Give each account the options of ``defaults`` that the account does not set.

    Maps are merged option by option; any other value of the account replaces the default.
    """
    data: dict[str, Any] = source.data
    defaults, accounts = data.get("defaults"), data.get("accounts")
    if not isinstance(defaults, dict) or not isinstance(accounts, dict):
        return
    unset = {place: name for place, name in source.unset.items() if place[0] == "defaults"}
    for name, own in accounts.items():
        if source.names_account:
            defaults, unset = source.defaults_of(name)
            if not any(problem.account == name for problem in source.problems):
                # The defaults are also checked by themselves, with a sample name for {account}.
                data["defaults"] = defaults
        if not isinstance(own, dict):
            continue
        accounts[name] = _merged(defaults, own)
        for place, variable in unset.items():
            here = ("accounts", name, *place[1:])
            if source.places.own(here) is None:
                source.unset[here] = variable


def _merged(defaults: Any, own: Any) -> Any:
    if not isinstance(defaults, dict) or not isinstance(own, dict):
        return own
    return defaults | {name: _merged(defaults.get(name), value) for name, value in own.items()}


def _is_meant(path: Path) -> bool:
    """Return whether a file of the folder is an account's; hidden files belong to editors and mounts."""
    return path.suffix.lower() in _LIKE_AN_ENDING and not path.name.startswith(".")


def _folder_problem(folder: Path) -> Problem | None:
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        if not folder.is_symlink():
            return None
        found = "a link that leads nowhere"
    except NotADirectoryError:
        found = "a file"
    except OSError as error:
        found = f"a folder that cannot be read ({error.strerror})"
    else:
        return None
    return Problem(str(folder), 1, FOLDER, found, "a folder of files NAME.yaml, or nothing of that name")


def _name_problem(path: Path) -> Problem | None:
    name = path.name.removesuffix(path.suffix)
    place = f"{FOLDER}.{name}"
    if path.suffix != _ENDING:
        return Problem(str(path), 1, place, f"the ending {path.suffix}", f"{name}{_ENDING}")
    if not ACCOUNT_NAME.fullmatch(name):
        return Problem(str(path), 1, FOLDER, f"the account name '{name}'", _NAME_RULE)
    return None


def _read(
    path: Path, environ: Mapping[str, str], lazy: re.Pattern[str], problems: list[Problem]
) -> Source | None:
    place = (FOLDER, path.stem)

    def told(found: str, expected: str) -> None:
        problems.append(Problem(str(path), 1, ".".join(place), found, expected))

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        told("bytes that are no UTF-8 text", "UTF-8 text")
        return None
    except OSError as error:
        leads_nowhere = isinstance(error, FileNotFoundError) and path.is_symlink()
        found = "a link that leads nowhere" if leads_nowhere else f"no readable file ({error.strerror})"
        told(found, "a file that this process may read")
        return None
    part = Source(path, text, environ, lazy, place)
    problems += part.problems
    if isinstance(part.data, dict):
        return part
    if not part.problems:
        found = "an empty file" if part.data is None else "a single value or a list"
        told(found, "the account's options, or {} where defaults says all")
    return None
