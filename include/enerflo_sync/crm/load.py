"""Reading sync.yaml: every mistake is found at once and reported with its line."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from enerflo_sync.crm.account import LAZY_OPTIONS
from enerflo_sync.crm.account_files import account_of, add_account_files, apply_defaults
from enerflo_sync.crm.checks import account_problems, name_problems, shared_table_problems, table_problems
from enerflo_sync.crm.columns import ColumnDeclaration, column_problems
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.elsewhere import copy_of
from enerflo_sync.crm.kept_days import retention_problems
from enerflo_sync.crm.mapping import MIRROR_TABLES, TableMapping
from enerflo_sync.crm.problems import UNKNOWN_OPTION, InvalidConfigurationError, Problem, listed, nearest
from enerflo_sync.crm.source import Place, Source, read_source

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a map of options",
    "model_type": "a map of options",
    "model_attributes_type": "a map of options",
    "list_type": "a list",
    "tuple_type": "a list",
}


def load_config(path: Path, environ: Mapping[str, str]) -> SyncConfig:
    """Return the configuration in ``path`` with ``${NAME}`` and ``${NAME:-default}`` filled in.

    Accounts are in the file, or each in its own file in the folder ``accounts`` beside it. An account whose
    own file has a mistake is left out (:attr:`SyncConfig.unusable`); the other accounts stay usable.

    An unset variable of an account's address or key is not an error here, but when :meth:`AccountConfig.need`
    asks for the value.

    :param environ: the variables, usually ``os.environ``.
    :raises ConfigurationError: the file cannot be read or holds mistakes, or no account is left; an
        :class:`InvalidConfigurationError` then lists all of them with file, line, found and expected.
    """
    source = read_source(path, environ, LAZY_OPTIONS)
    add_account_files(source, environ, LAZY_OPTIONS)
    apply_defaults(source)
    problems = list(source.problems)
    config = _in_form(source, problems)
    if config is None:
        problems += _problems_of_sound_tables(source)
        raise InvalidConfigurationError(path, _distinct(problems))
    tables = {name: _account_tables(config, name, source, problems) for name in config.accounts}
    left_out = {account_of(problem, path) for problem in problems}
    problems += account_problems(config, source, left_out)
    problems += column_problems(config.columns, source)
    problems += retention_problems(config, source)
    problems += _problems_of_sound_tables(source)
    by_account: dict[str, list[Problem]] = {}
    for one in _distinct(problems):
        by_account.setdefault(account_of(one, path), []).append(one)
    if "" in by_account or not set(config.accounts) - set(by_account):
        raise InvalidConfigurationError(path, _distinct(problems))
    for name, found in by_account.items():
        config.leave_out(name, found)
    _remember(config, source, {name: tables[name] for name in config.accounts})
    return config


def _in_form(source: Source, problems: list[Problem]) -> SyncConfig | None:
    """Return the configuration of the accounts with a valid form, and add the problems of the others.

    None if a section for all accounts is invalid, or no account is valid.
    """
    data: dict[str, Any] = source.data
    while True:
        known = {(problem.line, problem.place) for problem in problems}
        try:
            return SyncConfig.model_validate(data)
        except ValidationError as error:
            problems += [p for p in shape_problems(source, error) if (p.line, p.place) not in known]
        left_out = {account_of(problem, source.file) for problem in problems}
        if "" in left_out:
            return None
        sound = {name: one for name, one in data["accounts"].items() if name not in left_out}
        if not sound or len(sound) == len(data["accounts"]):
            return None
        data = data | {"accounts": sound}


def _remember(config: SyncConfig, source: Source, tables: dict[str, dict[str, TableMapping]]) -> None:
    config._places = source.places
    config._tables = tables
    unset: dict[str, dict[str, str]] = {}
    for place, variable in source.unset.items():
        if place[0] == "accounts":
            unset.setdefault(place[1], {})[".".join(place[2:])] = variable
    told: set[int] = set()
    for account_name, mapped in tables.items():
        for table, mapping in mapped.items():
            # Accounts share the tables for which they have no overrides.
            if id(mapping) not in told:
                _tell_of_columns(mapping, config.columns.get(mapping.kind(table), {}))
                told.add(id(mapping))
        crm = config.accounts[account_name].crm
        if crm is not None:
            tables[account_name] = {
                table: mapping.kept_in(copy_of(account_name, table), empty_is_null=crm.empty_is_null)
                for table, mapping in mapped.items()
            }
    for name, account in config.accounts.items():
        account._name = name
        account._places = source.places
        account._unset = unset.get(name, {})


def _tell_of_columns(mapping: TableMapping, declared: Mapping[str, ColumnDeclaration]) -> None:
    """Give a table's mapping the declared columns of its mirror table."""
    mapping._declared = {
        name: (column.type.sqlalchemy, column.personal_kind) for name, column in declared.items()
    }
    for field in mapping.fields.values():
        if field.enerflo in declared:
            field._declared_kind = declared[field.enerflo].personal_kind


def _account_tables(
    config: SyncConfig, account: str, source: Source, problems: list[Problem]
) -> dict[str, TableMapping]:
    tables = dict(config.tables)
    overrides: dict[str, Any] = config.accounts[account].tables
    for name, override in overrides.items():
        base = config.tables.get(name)
        own = ("accounts", account, "tables", name)
        if base is None and override.crm_table is None:
            expected = f"a table of tables ({listed(config.tables)}), or the whole mapping of another"
            found = f"the table {name}, which tables does not have"
            problems.append(source.problem(own, found, expected, nearest(name, config.tables)))
            continue
        merged = _merged(base.model_dump(exclude_unset=True) if base else {}, override)
        try:
            tables[name] = TableMapping.model_validate(merged)
        except ValidationError as error:
            problems += shape_problems(source, error, own, TableMapping)
        else:
            problems += _table_problems(name, tables[name], source, own, config.columns, config.tables)
    places = {
        name: ("accounts", account, "tables", name) if name in overrides else ("tables", name)
        for name in tables
    }
    problems += shared_table_problems(tables, config.accounts[account].mode, source, places)
    order = list(MIRROR_TABLES)
    known = [name for name, mapping in tables.items() if mapping.kind(name) in MIRROR_TABLES]
    return {
        name: tables[name] for name in sorted(known, key=lambda name: order.index(tables[name].kind(name)))
    }


def _table_problems(
    name: str,
    mapping: TableMapping,
    source: Source,
    place: Place,
    columns: Mapping[str, Mapping[str, ColumnDeclaration]],
    others: Iterable[str] = (),
) -> Iterator[Problem]:
    yield from name_problems(name, mapping, source, place, others)
    if mapping.kind(name) in MIRROR_TABLES:
        declared = columns.get(mapping.kind(name), {})
        yield from table_problems(mapping.kind(name), mapping, source, place, declared)


def _merged(base: dict[str, Any], override: BaseModel) -> dict[str, Any]:
    own = override.model_dump(exclude_unset=True)
    compared: dict[str, dict[str, Any]] = {}
    for section in ("fields", "columns"):
        fields = dict(base.get(section, {}))
        for name, options in (own.pop(section, None) or {}).items():
            if options is None:
                fields.pop(name, None)
            else:
                fields[name] = fields.get(name, {}) | options
        if fields or section in base:
            compared[section] = fields
    # A key in another form replaces the whole way of matching rows.
    if "key" in own and "join" not in own:
        base = {option: value for option, value in base.items() if option != "join"}
    return base | own | compared


def _problems_of_sound_tables(source: Source) -> Iterator[Problem]:
    """Check the mapping's meaning even if other parts of the file have an invalid form."""
    data: dict[str, Any] = source.data
    tables = data.get("tables")
    for name, raw in (tables if isinstance(tables, dict) else {}).items():
        try:
            mapping = TableMapping.model_validate(raw)
        except ValidationError:
            continue
        if isinstance(name, str):
            columns = {mapping.kind(name): _sound_columns(data.get("columns"), mapping.kind(name))}
            yield from _table_problems(name, mapping, source, ("tables", name), columns)


def _sound_columns(columns: Any, table: str) -> dict[str, ColumnDeclaration]:
    """Return a table's declared columns that have a valid form, from a file that may be invalid."""
    found: dict[str, ColumnDeclaration] = {}
    declared = columns.get(table) if isinstance(columns, dict) else None
    for name, raw in (declared if isinstance(declared, dict) else {}).items():
        with suppress(ValidationError):
            found[name] = ColumnDeclaration.model_validate(raw)
    return found


def shape_problems(
    source: Source, error: ValidationError, prefix: Place = (), model: type[BaseModel] = SyncConfig
) -> Iterator[Problem]:
    """Yield what does not have the form of ``model``, each with its line, the expected form and a near name.

    :param prefix: where in the file the model's section begins.
    """
    alternatives: dict[Place, list[tuple[str, str, str]]] = {}
    for detail in error.errors(include_url=False):
        place = prefix + _place(source.data, prefix, detail)
        if source.problems and place in source.unset:
            continue
        alternatives.setdefault(place, []).append(_explained(source, place, len(prefix), model, detail))
    for place, reasons in alternatives.items():
        expected = " or ".join(dict.fromkeys(expected for _, expected, _ in reasons))
        yield source.problem(place, reasons[0][0], expected, reasons[0][2])


def _place(data: Any, prefix: Place, detail: ErrorDetails) -> Place:
    """Return the option's path without the names of the alternatives that pydantic tried."""
    for step in prefix:
        data = data[step] if isinstance(data, dict) and step in data else {}
    place: Place = ()
    steps = [str(step) for step in detail["loc"] if step != "[key]"]
    for index, step in enumerate(steps):
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        elif detail["type"] == "missing" and index == len(steps) - 1:
            return (*place, step)
        else:
            continue
        place = (*place, step)
    return place


def _explained(
    source: Source, place: Place, skip: int, model: type[BaseModel], detail: ErrorDetails
) -> tuple[str, str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    found = "a value" if source.hidden(place) else _shown(detail["input"])
    if kind == "missing":
        return "nothing", _description(model, place[skip:]), ""
    if kind == "extra_forbidden":
        names = list(_model_at(model, place[skip:-1]))
        return f"{UNKNOWN_OPTION} {place[-1]}", listed(names, limit=20), nearest(place[-1], names)
    if kind in {"enum", "literal_error"}:
        names = [name.strip(" '") for name in str(context["expected"]).replace(" or ", ", ").split(",")]
        return found, listed(names), nearest(str(detail["input"]), names)
    if kind in _EXPECTED:
        return found, _EXPECTED[kind], ""
    limits = {"greater_than_equal": "ge", "less_than_equal": "le"}
    if kind in limits:
        words = "at least" if kind == "greater_than_equal" else "at most"
        return found, f"{words} {context[limits[kind]]:g}", ""
    if kind == "too_short":
        return "nothing in it", "at least one entry", ""
    return found, detail["msg"].removeprefix("Input should be ").removeprefix("Value error, "), ""


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case Enum():
            return str(value.value)
        case dict():
            return "a map of options"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return f"the text '{value[:60]}'"
        case _:
            return str(value)


def _description(model: type[BaseModel], place: Place) -> str:
    info = _model_at(model, place[:-1]).get(place[-1])
    text = getattr(info, "description", None) or "a value"
    return f"{place[-1]} ({text.rstrip('.')})"


def _model_at(model: type[BaseModel], place: Place) -> dict[str, Any]:
    """Return the valid options at a path."""
    annotation: Any = model
    for step in place:
        options = getattr(annotation, "model_fields", None)
        annotation = options[step].annotation if options and step in options else _item_type(annotation)
        annotation = _model_among(annotation)
    return dict(getattr(annotation, "model_fields", {}))


def _item_type(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    return arguments[-1] if arguments else None


def _model_among(annotation: Any) -> Any:
    """Return the alternative of a union that has options."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in {typing.Union, types.UnionType}:
        return annotation
    choices = [_model_among(one) for one in typing.get_args(annotation) if one is not type(None)]
    return next((one for one in choices if hasattr(one, "model_fields")), choices[0])


def _distinct(problems: list[Problem]) -> list[Problem]:
    """Return each problem once: every account repeats a problem of the defaults in other words."""
    found: dict[object, Problem] = {}
    for one in problems:
        shared = one.place.startswith("defaults.")
        found.setdefault((one.line, one.place, one.account) if shared else one, one)
    return list(found.values())
