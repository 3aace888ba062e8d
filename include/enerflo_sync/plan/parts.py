"""Parts of a plan: the changes that a person selects by table, record and field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.mapping import RecordKind, TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.masking import PersonalData
from enerflo_sync.plan.completion import LAST_MILESTONE

_LEFT = sa.text("""
/* enerflo-sync apply: changes of a plan that nobody decided about yet */
select position, table_name, key, enerflo_key, op, field, rule, direction, after, source_value
from sync.plan_changes
where account = :account and plan_hash = :plan_hash and state = 'planned'
order by position
""")

HOW = "Write TABLE, TABLE.FIELD, TABLE:KEY or TABLE:KEY.FIELD, as in installs.status or installs:12345."

_FIRST = "the row of the install is made first"

Chosen = Callable[[Any], bool]


class Rest(StrEnum):
    """What happens to the changes of a plan that a person did not select."""

    OPEN = "open"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Part:
    """The changes of a plan that a decision is about: all of them unless selectors are given.

    A selector is ``TABLE``, ``TABLE.FIELD``, ``TABLE:KEY`` or ``TABLE:KEY.FIELD``; the parts of a key of
    several columns are joined by ``/``. A selector with a field selects updates only: a new row is selected
    as a whole.

    :param only: selectors of the changes that the decision is about.
    :param without: selectors of changes that the decision is not about.
    :param rest: what happens to the other changes.
    """

    only: Sequence[str] = ()
    without: Sequence[str] = ()
    rest: Rest = Rest.OPEN

    @property
    def whole(self) -> bool:
        """Return whether the decision is about the whole plan."""
        return not self.only and not self.without


def choose(
    connection: sa.Connection,
    account: str,
    plan_hash: str,
    part: Part,
    tables: Mapping[str, TableMapping],
    *,
    refuses: bool = False,
) -> tuple[list[int], list[int]]:
    """Return the positions of the selected changes of a plan, and of the other changes that are still open.

    :param refuses: whether the selected changes are refused; then only the others may still be made.
    :raises ConfigurationError: a selector selects nothing, or separates changes that can only be made
        together.
    """
    named = {"account": account, "plan_hash": plan_hash}
    changes = connection.execute(_LEFT, named).all()
    only = [_selector(text, changes, tables) for text in part.only]
    without = [_selector(text, changes, tables) for text in part.without]
    chosen = {
        change.position
        for change in changes
        if (not only or any(fits(change) for fits in only)) and not any(fits(change) for fits in without)
    }
    if not chosen:
        raise ConfigurationError(
            "the selectors leave no change of the plan.",
            where="--only, --except",
            next_step="Choose at least one change.",
        )
    others = [change.position for change in changes if change.position not in chosen]
    _require_together(changes, set(others) if refuses else chosen, tables, refuses=refuses)
    return sorted(chosen), others


def _selector(text: str, changes: Sequence[Any], tables: Mapping[str, TableMapping]) -> Chosen:
    """Return the condition of one selector.

    :raises ConfigurationError: the selector fits no change of the plan, or changes of several records.
    """
    fits = _condition(text.strip(), changes, tables)
    _require_one_record(text.strip(), filter(fits, changes))
    if not any(fits(change) for change in changes):
        created = any(_without_field(text, change, tables) for change in changes)
        raise ConfigurationError(
            "a new row is chosen whole." if created else "nothing of the plan fits.",
            where=f"selector {text.strip()[:60]!r}",
            next_step="Leave the field out." if created else HOW,
        )
    return fits


def _condition(text: str, changes: Sequence[Any], tables: Mapping[str, TableMapping]) -> Chosen:
    table, colon, rest = text.partition(":")
    if not colon:
        table, _, field = text.partition(".")
        return lambda change: change.table_name == table and _of_field(change, field)
    columns = _key_columns(table, tables)

    def fits(change: Any) -> bool:
        if change.table_name != table:
            return False
        key = record_name(change.key, columns)
        if rest == key:
            return True
        return rest.startswith(f"{key}.") and _of_field(change, rest.removeprefix(f"{key}."))

    return fits


def _require_one_record(text: str, chosen: Iterable[Any]) -> None:
    """Refuse an ambiguous key: ``a/b`` joined with ``c`` reads like ``a`` joined with ``b/c``.

    :raises ConfigurationError: the selector fits several records.
    """
    keys = {repr(sorted(change.key.items())) for change in chosen} if ":" in text else set()
    if len(keys) > 1:
        raise ConfigurationError(
            "more than one record reads like this.",
            where=f"selector {text[:60]!r}",
            next_step="Choose by TABLE or TABLE.FIELD, or decide about the whole plan.",
        )


def _of_field(change: Any, field: str) -> bool:
    return not field or (change.op == "update" and change.field == field)


def _without_field(text: str, change: Any, tables: Mapping[str, TableMapping]) -> bool:
    """Return whether a selector names a field of a row that the plan creates."""
    if change.op != "insert" or not change.field or not text.strip().endswith(f".{change.field}"):
        return False
    short = text.strip().removesuffix(f".{change.field}")
    return _condition(short, [change], tables)(change)


def _key_columns(table: str, tables: Mapping[str, TableMapping]) -> Sequence[str]:
    mapping = tables.get(table)
    return () if mapping is None else mapping.key_columns


def record_name(key: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return a key as selectors write it: its values in the order of the mapping, joined by ``/``."""
    names = [column for column in columns if column in key] or list(key)
    return "/".join(str(key[name]) for name in names)


def has_personal_key(table: TableMapping) -> bool:
    """Return whether a key or join column of the table holds personal data: its keys are shown masked."""
    kinds, columns = table.personal_kinds, {*table.key_columns, *table.join_columns}
    return any(kinds.get(column, PersonalData.NONE) is not PersonalData.NONE for column in columns)


def shown_selector(text: str, tables: Mapping[str, TableMapping]) -> str:
    """Return a selector as it may be shown: without its key if the table's keys hold personal data."""
    name, colon, _ = text.strip().partition(":")
    table = tables.get(name)
    return f"{name}:…" if colon and (table is None or has_personal_key(table)) else text.strip()


def _require_together(
    changes: Sequence[Any], made: set[int], tables: Mapping[str, TableMapping], *, refuses: bool
) -> None:
    """Refuse a selection that separates changes which can only be made together.

    :param made: positions of the changes that may still be made after the decision.
    :raises ConfigurationError: the selection separates such changes.
    """
    for one, other, why in (*_pairs(changes), *_after_their_install(changes, tables)):
        first, second = one.position in made, other.position in made
        if (second and not first) or (first and not second and why is not _FIRST):
            names = [
                f"{change.table_name}:{record_name(change.key, _key_columns(change.table_name, tables))}"
                + (f".{change.field}" if change.op == "update" and change.field else "")
                for change in (one, other)
            ]
            needed, without = reversed(names) if refuses else names
            raise ConfigurationError(
                f"{names[0]} and {names[1]} belong together: {why}.",
                where="--only, --except",
                next_step=f"Choose {needed} as well, or leave {without} out.",
            )


def _pairs(changes: Sequence[Any]) -> Iterator[tuple[Any, Any, str]]:
    """Yield pairs of changes that can only be made together, with the reason."""
    first: dict[tuple[str, str, str], Any] = {}
    for change in changes:
        if change.op == "insert":
            row = (change.table_name, change.direction, repr(sorted(change.key.items())))
            yield first.setdefault(row, change), change, "a new row is made whole"
    for completion in (change for change in changes if change.rule == LAST_MILESTONE):
        for change in changes:
            of_it = "milestone_id" in (change.enerflo_key or {}) and change.direction == "to_enerflo"
            if of_it and _install(change) == _install(completion) and change.after == completion.source_value:
                yield change, completion, "the last milestone completes the install"


def _after_their_install(
    changes: Sequence[Any], tables: Mapping[str, TableMapping]
) -> Iterator[tuple[Any, Any, str]]:
    """Yield the new CRM row of an install with each new CRM row that belongs to the install."""
    new = [change for change in changes if change.op == "insert" and change.direction == "to_crm"]
    of_installs = {name for name, mapping in tables.items() if mapping.kind(name) == RecordKind.INSTALLS}
    installs: dict[Any, dict[str, Any]] = {}
    for change in new:
        if change.table_name in of_installs:
            installs.setdefault(_install(change), {})[change.table_name] = change
    for change in new if installs else ():
        mapping = tables.get(change.table_name)
        if change.table_name in of_installs or mapping is None:
            continue
        field = mapping.fields.get(change.field or "")
        names_it = field is not None and field.enerflo == "install_id"
        for install in installs.get(change.after if names_it else _install(change), {}).values():
            yield install, change, _FIRST


def _install(change: Any) -> Any:
    return (change.enerflo_key or {}).get("install_id")
