"""Turn a recognised table into its mapping: key, marks, times and fields, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache, partial
from typing import Any

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.marks import is_of_copy_tool
from enerflo_sync.reconcile.draft.belong import Pairing, belonging, wide_columns
from enerflo_sync.reconcile.draft.drafted import DraftedTable, Suggestion
from enerflo_sync.reconcile.draft.identify import Match
from enerflo_sync.reconcile.draft.look import Candidate, key_columns
from enerflo_sync.reconcile.draft.mirrored import Mirror
from enerflo_sync.reconcile.draft.refine import FieldStory, Refined, refined
from enerflo_sync.reconcile.draft.words import UPDATED_AT, nearness
from enerflo_sync.shipped import shipped

# If more rows than this differ in spite of all options, the two columns hold different things.
_MOST_DIFFER = 0.5
# If more living records than this have only rows marked as deleted, the mark has another meaning.
_FEW = 0.1
# Options that a first mapping always has for a kind of records.
_OF_KIND: Mapping[str, Mapping[str, Any]] = {
    "notes": {"create_only": True},
    "leads": {"reconcile": False},
    "change_orders": {"reconcile": False},
}


def draft_table(connection: sa.Connection, account: str, match: Match, fold: str) -> DraftedTable | None:
    """Return the mapping of a table of records; None if no column corresponds to a field of Enerflo."""
    return _drafted(connection, account, match, belonging(match, _taken(match)), fold, {})


def draft_wide(
    connection: sa.Connection, account: str, match: Match, mirror: Mirror, fold: str
) -> DraftedTable | None:
    """Return the mapping of a wide table of milestones; None if no column is a milestone's field."""
    pairings = wide_columns(match, mirror, _taken(match))
    return _drafted(connection, account, match, pairings, fold, {"layout": "wide"})


def _taken(match: Match) -> set[str]:
    """Return the columns that are not fields: keys, marks, times of the row, and columns of a copy tool."""
    candidate = match.candidate
    own = {name for name in candidate.names if is_of_copy_tool(name)}
    times = {name for name in (_updated_at(candidate),) if name is not None}
    return {*own, *times, *match.keys, *candidate.marks, *key_columns(candidate)}


def _drafted(
    connection: sa.Connection,
    account: str,
    match: Match,
    pairings: list[Pairing],
    fold: str,
    shape: Mapping[str, str],
) -> DraftedTable | None:
    sure = {one.column: one for one in pairings if not one.why_not}
    if not sure:
        return None
    kind = "milestones" if shape else match.kind
    section = "columns" if shape else "fields"
    options: dict[str, Any] = {**shape, "crm_table": match.candidate.crm_table, **_rows(match)}
    options[section] = {column: one.options for column, one in sure.items()}
    suggestions = _suggested(match, pairings)
    why = _why(match)
    refused = ""
    if match.places:
        story, of_marks = _compared(connection, account, match, kind, options, fold)
        options, of_fields = _without_differing(story, section)
        # A person must confirm the condition, so it is only a suggestion.
        options.pop("where", None)
        suggestions += [*of_marks, *of_fields]
        why |= _told(story, section)
        if story.keys.without_key and match.kind == "installs":
            options["unlinked"] = "ignore"
            rows = "row names" if story.keys.without_key == 1 else "rows name"
            why["unlinked"] = f"{story.keys.without_key:,} {rows} no record of Enerflo"
        if story.keys.crm and not story.keys.matched:
            refused = (
                "no key of its rows is that of a record as it is spelled: map a view that shows the id alone."
            )
    else:
        options = _trusting(match, options)
        why |= {f"{section}.{column}": "by its name" for column in sure}
    if not options[section]:
        return None
    options[section] = _with_truth(kind, options, section)
    return DraftedTable(kind, kind, _about(match, kind), _ordered(options), why, suggestions, refused)


def _compared(
    connection: sa.Connection,
    account: str,
    match: Match,
    kind: str,
    options: dict[str, Any],
    fold: str,
) -> tuple[Refined, list[Suggestion]]:
    """Return how the table is compared; its marks become a suggestion if living records have them."""
    parted = {"where": match.sort.condition} if match.sort is not None and match.sort.parts else {}
    compared = partial(refined, connection, account, kind, live=match.candidate.live, fold=fold)
    story = compared(options | parted)
    if (alive := _without_doubtful_marks(story)) is not None:
        again = compared(alive)
        if again.keys.only_enerflo <= _FEW * story.keys.only_enerflo:
            return again, [_doubtful_marks(story, again)]
    return story, []


def _without_doubtful_marks(story: Refined) -> dict[str, Any] | None:
    """Return the options without marks that only a name suggests; None if few records lack a row."""
    marks = story.options.get("deleted_when", {})
    sure = {column: mark for column, mark in marks.items() if is_of_copy_tool(column)}
    if sure == marks or story.keys.only_enerflo <= _FEW * story.keys.enerflo:
        return None
    options = {name: value for name, value in story.options.items() if name != "deleted_when"}
    return options | ({"deleted_when": sure} if sure else {})


def _doubtful_marks(story: Refined, again: Refined) -> Suggestion:
    lost = story.keys.only_enerflo - again.keys.only_enerflo
    why = f"{lost:,} living records of Enerflo have only rows that are marked so: is that a deletion?"
    return Suggestion({"deleted_when": story.options["deleted_when"]}, why)


def _rows(match: Match) -> dict[str, Any]:
    """Return the options that choose the rows, match them, and give the time of their last change."""
    candidate = match.candidate
    found: dict[str, Any] = {}
    if candidate.marks:
        found["deleted_when"] = dict(candidate.marks)
    own = key_columns(candidate)
    if own and set(own) != set(match.keys):
        found |= {"key": own, "join": dict(match.keys)}
    else:
        found["key"] = dict(match.keys)
    if (updated := _updated_at(candidate)) is not None:
        found["updated_at"] = updated
    if (arrived := _arrived_at(candidate)) is not None:
        found["arrived_at"] = arrived
    found |= _OF_KIND.get(match.kind, {})
    if candidate.tool is not None:
        found["write_to"] = "changes"
    return found


def _updated_at(candidate: Candidate) -> str | None:
    times = [
        name
        for name in candidate.names
        if candidate.live.columns[name].kind.is_time and not is_of_copy_tool(name)
    ]
    for meaning in UPDATED_AT:
        for name in times:
            if nearness(name, [meaning]) == 1:
                return name
    return None


def _arrived_at(candidate: Candidate) -> str | None:
    arrivals = candidate.tool.arrivals if candidate.tool is not None else ()
    return next((one for one in arrivals if one in candidate.names and _is_time(candidate, one)), None)


def _is_time(candidate: Candidate, name: str) -> bool:
    return candidate.live.columns[name].kind.is_time


def _trusting(match: Match, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with a text key read as a number, since no value shows yet how keys are written."""
    place = "join" if "join" in options else "key"
    columns = match.candidate.live.columns
    keys = {
        column: {"enerflo": mirror, "type": "integer", "trim": True}
        if columns[column].kind is Kind.TEXT
        else mirror
        for column, mirror in options[place].items()
    }
    return {**options, place: keys}


def _without_differing(story: Refined, section: str) -> tuple[dict[str, Any], list[Suggestion]]:
    """Return the options without fields that still differ in most rows, and these fields as suggestions."""
    fields, doubtful = {}, []
    for column, options in story.options[section].items():
        told = story.stories[column]
        if told.left > _MOST_DIFFER * max(told.compared, 1):
            differs = "differs" if told.left == 1 else "differ"
            why = " ".join([f"{told.left:,} of {count_of(told.compared, 'row')} {differs}.", *told.further])
            doubtful.append(Suggestion({column: options}, why, of_field=True))
        else:
            fields[column] = options
    return {**story.options, section: fields}, doubtful


def _suggested(match: Match, pairings: Collection[Pairing]) -> list[Suggestion]:
    found = []
    if match.sort is not None:
        why = f"{match.sort.inside:,} rows that were looked at meet it, {match.sort.outside:,} do not"
        if match.sort.parts:
            why += ". Without it a record has several rows: duplicates, of which no field is compared"
        found.append(Suggestion({"where": match.sort.condition}, why))
    found += [
        Suggestion({one.column: one.options}, one.why_not, of_field=True) for one in pairings if one.why_not
    ]
    return found


def _why(match: Match) -> dict[str, str]:
    candidate = match.candidate
    found = {"updated_at": "by its name", "create_in": "the CRM makes its own key"}
    marked = len(candidate.rows) - len(candidate.living)
    found["deleted_when"] = f"{marked:,} of {len(candidate.rows):,} rows that were looked at are marked"
    if candidate.live.unique_keys:
        found["key"] = "the table's own key"
    if candidate.tool is not None:
        found["arrived_at"] = f"{candidate.tool.name}'s time of the copy"
        found["write_to"] = f"a copy that {candidate.tool.name} keeps: what is written into it is lost"
    return found


def _told(story: Refined, section: str) -> dict[str, str]:
    keys = story.keys
    place = "join" if "join" in story.options else "key"
    sample = f"of one key in {keys.every:,} " if keys.every > 1 else ""
    met = f"{sample}{keys.matched:,} rows meet {keys.enerflo - keys.only_enerflo:,} of {keys.enerflo:,}"
    if keys.duplicate_keys:
        met += f"; {keys.duplicate_rows:,} rows share {count_of(keys.duplicate_keys, 'key')}"
    fields = {f"{section}.{column}": _field_why(told) for column, told in story.stories.items()}
    return {place: met, **fields}


def _field_why(told: FieldStory) -> str:
    if not told.compared and not told.left:
        return "as in the rows that were looked at"
    if not told.before:
        equal = max(told.compared - told.left, 0)
        return f"{equal:,} of {told.compared:,} rows say the same"
    left = f"; with this {count_of(told.left, 'row differs', 'rows differ')}" if told.left else ""
    further = [one.removesuffix(".") for one in told.further]
    return ". ".join([f"of {count_of(told.compared, 'row')}: {told.before}{left}", *further])


def _about(match: Match, kind: str) -> str:
    candidate = match.candidate
    tool = f", a copy that {candidate.tool.name} keeps" if candidate.tool is not None else ""
    if not match.places:
        return f"{candidate.crm_table}{tool}: {kind} by the names of its columns alone."
    where = "in columns of the rows of installs" if kind != match.kind else count_of(len(match.places), "row")
    return f"{candidate.crm_table}{tool}: {kind}, {where}, by the keys and values that they hold."


_ORDER = (
    "of layout crm_table where deleted_when key join unlinked updated_at arrived_at reconcile create_only"
    " create_in write_to fields columns"
).split()


def _ordered(options: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(options)
    # Plans never insert rows into a wide table.
    if isinstance(made["key"], list) and made.get("layout") != "wide":
        made["create_in"] = []
    return {name: made[name] for name in _ORDER if name in made}


@cache
def _shipped_tables() -> Mapping[str, TableMapping]:
    return load_config(shipped("sync.yaml"), {}).tables


def _with_truth(kind: str, options: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Return the fields with the source of truth that the shipped file declares for Enerflo's column."""
    # In a checkout, the packaged file may be the team's own, with other tables.
    table = _shipped_tables().get(kind)
    fields = table.fields.values() if table is not None else ()
    usual = {field.enerflo: str(field.source_of_truth) for field in fields}
    found = {}
    for column, one in options[section].items():
        truth = usual.get(one["enerflo"], "enerflo")
        if truth == "newest" and "updated_at" not in options:
            truth = "review"
        named = {"milestone": one["milestone"]} if "milestone" in one else {}
        found[column] = {**named, **one, "source_of_truth": truth}
    return found
