"""YAML text as plain values that remember their lines, with ``${NAME}`` filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from msgspec.structs import replace

from enerflo_sync.crm.problems import NEWER_PROGRAM, InvalidConfigurationError, Problem
from enerflo_sync.errors import ConfigurationError

Place = tuple[str, ...]

MAX_DEPTH = 20
# The newest form of sync.yaml, change_orders.yaml and life_cycle.yaml.
NEWEST_FORM = 1
# In a text of ``defaults``: the account's name; in a variable's name, the account's name in upper case.
ACCOUNT = "{account}"
_ACCOUNT_IN_VARIABLE = re.compile(r"\$\{[A-Za-z0-9_]*\{account\}")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
# YAML 1.2's core schema, as editors read it: "on", "yes" and 12:30 are text.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

# What libyaml was in when it met a mistake: the mistake is often where that begins, many lines above.
_OPEN = {
    "while scanning a quoted scalar": "the quoted text",
    "while parsing a flow mapping": "the { }",
    "while parsing a flow sequence": "the [ ]",
}

# libyaml's loader if PyYAML has it: a twentieth of the time, which every command and DAG file pays.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Spot:
    """Where an option is: its file and line, and its path."""

    file: Path
    line: int
    place: Place

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class Places:
    """Where every option of a configuration is.

    :param lines: the line of every option of ``file``.
    :param accounts: by account with its own file: that file and the lines of its options.
    """

    file: Path
    lines: dict[Place, int] = field(default_factory=lambda: {(): 1})
    accounts: dict[str, Places] = field(default_factory=dict)

    def own(self, place: Place) -> Spot | None:
        """Return where exactly this option is, in sync.yaml or the account's file; None if nowhere."""
        found = self.accounts.get(place[1]) if len(place) > 1 and place[0] == "accounts" else None
        part = found or self
        return Spot(part.file, part.lines[place], place) if place in part.lines else None

    def find(self, place: Place) -> Spot:
        """Return where an option is, or the nearest section around it.

        An option that an account does not set is found in ``defaults``, if it is set there.
        """
        while place:
            if (found := self.own(place)) is not None:
                return found
            shared = ("defaults", *place[2:])
            if place[0] == "accounts" and len(place) > 2 and shared in self.lines:
                return Spot(self.file, self.lines[shared], shared)
            place = place[:-1]
        return Spot(self.file, 1, ())


@lru_cache(maxsize=8)
def _composed(text: str) -> yaml.Node | None:
    """Return a file's nodes, which must not be changed: a job reads its few files repeatedly."""
    node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    return node


class Source:
    """A parsed file: ``data``, where every option is, and the variables that are not set.

    :param lazy: matches options whose variable may be unset until they are used (account secrets). Such an
        option is then ``None``, is otherwise always text, and its value is never shown.
    :param root: the place in the configuration to which the file's content belongs.
    """

    def __init__(
        self,
        file: Path,
        text: str,
        environ: Mapping[str, str],
        lazy: re.Pattern[str],
        root: Place = (),
    ) -> None:
        self.places = Places(file, {root: 1})
        self.root = root
        self.problems: list[Problem] = []
        self.unset: dict[Place, str] = {}
        # Whether a default contains the account's name.
        self.names_account = False
        self._environ = environ
        self._lazy = lazy
        self._account: str | None = None
        self._defaults: yaml.Node | None = None
        self.data: Any = None
        try:
            node = _composed(text)
        except yaml.YAMLError as error:
            self._unreadable(error, text)
        else:
            self.data = None if node is None else self._value(node, root)

    @property
    def file(self) -> Path:
        """Return the path of the file."""
        return self.places.file

    @property
    def lines(self) -> dict[Place, int]:
        """Return the line of every option of the file."""
        return self.places.lines

    def line(self, place: Place) -> int:
        """Return the line of ``place``, or of the nearest enclosing option that the file holds."""
        return self.places.find(place).line

    def problem(self, place: Place, found: str, expected: str, nearest: str = "") -> Problem:
        """Return a problem at ``place``; a problem in a default is the same for every account."""
        spot = self.places.find(place)
        # A missing or unknown option of a section is reported under its own name.
        if spot.place[:1] == ("defaults",) and place[:1] == ("accounts",):
            place = ("defaults", *place[2:])
        return Problem(str(spot.file), spot.line, ".".join(place), found, expected, nearest)

    def defaults_of(self, account: str) -> tuple[Any, dict[Place, str]]:
        """Return the section ``defaults`` for an account of this name, and the variables that are not set."""
        assert self._defaults is not None  # noqa: S101 - the caller has seen the section
        kept = self.places, self.unset, self.problems
        self.places, self.unset, self.problems, self._account = Places(self.file), {}, [], account
        try:
            return self._value(self._defaults, ("defaults",)), self.unset
        finally:
            # An unset variable with this account's name is not a mistake of other accounts.
            own = [replace(one, account=account) for one in self.problems if one not in kept[2]]
            (self.places, self.unset, self.problems), self._account = kept, None
            self.problems += own

    def hidden(self, place: Place) -> bool:
        """Return whether the option's value is a secret."""
        return self._lazy.fullmatch(".".join(place)) is not None

    def _unreadable(self, error: yaml.YAMLError, text: str) -> None:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = getattr(error, "problem", None) or "characters that YAML does not allow"
        reason = reason.removeprefix("found ").replace("did not find expected", "no")
        reason = f"{reason} at column {column}"
        context, begun = _OPEN.get(getattr(error, "context", "")), getattr(error, "context_mark", None)
        if context and begun and begun.line + 1 < line:
            reason += f" in {context} that begins on line {begun.line + 1}"
        expected = "a YAML document"
        if mark and text.splitlines()[mark.line : mark.line + 1] and "\t" in text.splitlines()[mark.line]:
            expected += ", indented by blanks and not by tabs"
        if "${" in text or ACCOUNT in text:
            # A variable's braces end a flow map, which is the most common way to break this file.
            expected += " (inside { } a ${NAME} stands in quotes)"
        place = ".".join(self.root)
        self.problems.append(Problem(str(self.file), line, place, reason, expected))

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if len(place) > MAX_DEPTH:
            self.problems.append(self.problem(place[:3], "an alias of itself", "options that end"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(child, (*place, str(index))) for index, child in enumerate(node.value)]
        return self._scalar(str(node.value), not getattr(node, "style", None), place)

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self.lines[place] = node.start_mark.line + 1
        return self._value(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(
                    Problem(str(self.file), line, ".".join(place), "a list or map as a name", "text")
                )
                continue
            name = key_node.value
            if name == "<<" and not key_node.style:
                merged |= self._merge(value_node, place)
                continue
            here = (*place, name)
            if name in own:
                found = f"{name} a second time (first on line {self.lines[here]})"
                self.problems.append(Problem(str(self.file), line, ".".join(here), found, "each option once"))
                continue
            self.lines[here] = line
            if here == ("defaults",):
                self._defaults = value_node
            own[name] = self._value(value_node, here)
        return merged | own

    def _merge(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            merged: dict[str, Any] = {}
            for child in reversed(node.value):
                merged |= self._merge(child, place)
            return merged
        self.problems.append(self.problem(place, "<< with a single value", "a map to take options from"))
        return {}

    def _scalar(self, text: str, plain: bool, place: Place) -> Any:
        if ACCOUNT in text and place[:1] == ("defaults",):
            self.names_account = True
            text = _named(text, self._account)
        if "${" not in text:
            # A secret of digits is text; null is no value here either.
            return _resolved(text) if plain and (not self.hidden(place) or _NULL.fullmatch(text)) else text
        missing: list[str] = []

        def fill(match: re.Match[str]) -> str:
            value = self._environ.get(match["name"]) or match["default"]
            if value is None:
                missing.append(match["name"])
            return value or ""

        filled = _VARIABLE.sub(fill, text)
        if missing and self.hidden(place):
            self.unset[place] = missing[0]
            return None
        if missing:
            self.problems.append(
                self.problem(place, f"the unset variable {missing[0]}", f"{missing[0]} in the environment")
            )
            return None
        return _resolved(filled) if plain and not self.hidden(place) else filled


def _named(text: str, account: str | None) -> str:
    if account is None:
        return text
    capitals = account.upper()
    text = _ACCOUNT_IN_VARIABLE.sub(lambda match: match[0].replace(ACCOUNT, capitals), text)
    return text.replace(ACCOUNT, account)


def _resolved(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_source(file: Path, environ: Mapping[str, str], lazy: re.Pattern[str]) -> Source:
    """Return the parsed file; problems of its form are in ``Source.problems``.

    :raises ConfigurationError: the file cannot be read, is not UTF-8, is not YAML or is empty, or its form is
        newer than this version of the program.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"the configuration cannot be read: {reason}.",
            where=str(file),
            next_step="Check the path (of sync.yaml: ENERFLO_SYNC_CONFIG) and the rights of the file.",
        ) from error
    source = Source(file, text, environ, lazy)
    if not isinstance(source.data, dict) and not source.problems:
        found = "an empty file" if source.data is None else "a single value or a list"
        source.problems.append(
            Problem(str(file), 1, "", found, f"a map of options that starts with version: {NEWEST_FORM}")
        )
    if not isinstance(source.data, dict):
        raise InvalidConfigurationError(file, source.problems)
    _require_known_form(source)
    return source


def _require_known_form(source: Source) -> None:
    # What else the file says would be told as mistakes, since it follows rules that are not known here.
    form = source.data.get("version")
    if isinstance(form, int) and form > NEWEST_FORM:
        expected = f"at most {NEWEST_FORM}, the newest form that this version of enerflo-sync reads"
        problem = source.problem(("version",), str(form), expected)
        raise InvalidConfigurationError(source.file, [problem], next_step=NEWER_PROGRAM)
