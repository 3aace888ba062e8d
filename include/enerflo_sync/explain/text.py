"""An explanation in sentences, for a terminal, for JSON and for a page."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from enerflo_sync.counted import count_of
from enerflo_sync.explain.explanation import (
    BY_ITS_TABLE,
    Agreement,
    Evidence,
    Explanation,
    FieldStory,
    KnownFrom,
    SideValue,
    Step,
    Waiting,
    WaitingKind,
)
from enerflo_sync.reconcile.render.wording import visible

WIDTH: Final = 100
_MARGIN: Final = "  "
_MOST_CHARACTERS: Final = 200

_POLICIES = {
    "enerflo": "The field takes Enerflo's value",
    "crm": "The field takes the CRM's value",
    "newest": "The field takes the newest value",
    "review": "A person decides where both sides changed the field",
    "on_insert": "The column is filled when the row is created (on_insert)",
    "sent_along": "The column is sent along with a new record (writes)",
}
_SIDES = {"to_crm": ("Enerflo", "the CRM"), "to_enerflo": ("The CRM", "Enerflo")}
_AGREED_BY = {
    "comparison": "a comparison found them equal",
    "push": "the value was written and read back",
    "altered": BY_ITS_TABLE,
    "undo": "an undo left them so, on purpose",
    "reworded": "the CRM's value was handed over before sync.yaml changed what it stands for",
}


def render_explanation(explanation: Explanation) -> str:
    """Return the whole explanation as plain text, about 100 columns wide, ending in a newline."""
    lines = [title(explanation), *(_wrapped(one) for one in record_sentences(explanation))]
    for story in explanation.fields:
        lines += ["", visible(story.field), *(_wrapped(one) for one in story_sentences(story))]
    if explanation.masked and any(story.masked for story in explanation.fields):
        lines += ["", "Personal data is masked; --reveal shows it, and who asked is kept."]
    return "\n".join(lines) + "\n"


def title(explanation: Explanation) -> str:
    """Return the heading: the record, and the time that is explained if it is not the present."""
    key = "/".join(visible(str(value)) for value in explanation.key.values())
    when = "" if explanation.as_of is None else f", as known at {_moment(explanation.as_of)}"
    return f"{explanation.table} {key}{when}"


def record_sentences(explanation: Explanation) -> list[str]:
    """Return the sentences about the record as a whole."""
    pruned = [one for one in (explanation.pruned, explanation.ledger_pruned) if one is not None]
    gone = [f"{one[0].upper()}{one[1:]}." for one in pruned]
    if explanation.forgotten_at is not None:
        at = _moment(explanation.forgotten_at)
        gone.append(f"Its customer was forgotten at {at}: personal data was erased, and is not stored again.")
    return [
        *_whereabouts(explanation),
        *gone,
        *map(_step, explanation.steps),
        *map(_waiting, explanation.waiting),
    ]


def story_sentences(story: FieldStory) -> list[str]:
    """Return the sentences about one field: its present values, then the past decisions, then what waits."""
    found = [*_present(story)]
    if not story.steps and story.later:
        found.append(
            f"Nothing had been decided about it by then: {count_of(story.later, 'decision')} came later."
        )
    elif not story.steps:
        # The ledger keeps the names that sync.yaml had then.
        found.append(
            "Nothing was decided about it under these names of table and column: the ledger has no row of it."
        )
    return [*found, *map(_step, story.steps), *map(_waiting, story.waiting)]


def _whereabouts(explanation: Explanation) -> Iterator[str]:
    known = explanation.enerflo_key
    number = "/".join(str(value) for value in known.values()) if known else ""
    if explanation.in_enerflo:
        yield f"Enerflo has it as {number}."
    elif explanation.deleted_at is not None:
        yield f"Enerflo deleted it ({number}); that was found at {_moment(explanation.deleted_at)}."
    else:
        kept_out = any(one.kind is WaitingKind.QUARANTINED for one in explanation.waiting)
        yield (
            "Enerflo's record is in quarantine." if kept_out else "The mirror of Enerflo has no record of it."
        )
    match explanation.crm_rows:
        case 0 if explanation.outside_where:
            yield (
                f"Its row of {explanation.crm_table} is outside where, the mapping's condition: it does not"
                " count, and no other row is made in its place."
            )
        case 0 if explanation.crm_marked:
            yield f"{explanation.crm_table} has its row marked as deleted (deleted_when): it counts as none."
        case 0:
            yield f"{explanation.crm_table} has no row of it."
        case 1:
            sides = [story.crm for story in explanation.fields if story.crm is not None]
            at = next((side.changed_at for side in sides if side.changed_at is not None), None)
            changed = f", last changed at {_moment(at)}" if at is not None else ""
            yield f"{explanation.crm_table} has its row{changed}. The table's mode is {explanation.mode}."
        case rows:
            yield (
                f"{explanation.crm_table} has {count_of(rows, 'row')} of this key. One of them is shown."
                " Nothing is written until only one row is left."
            )


def _present(story: FieldStory) -> Iterator[str]:
    mine, theirs = story.enerflo, story.crm
    if mine is None or theirs is None:
        yield "The mapping does not compare this column."
        return
    said = "say" if mine.known_from is theirs.known_from is KnownFrom.PRESENT else "said"
    if mine.is_later or theirs.is_later:
        yield f"Enerflo {_side(mine)}. The CRM {_side(theirs)}."
    elif mine.exists and theirs.exists and mine.value == theirs.value:
        yield f"Both sides {said} {_value(mine.value)}."
    elif story.same:
        values = f"{_value(mine.value)}, the CRM {_value(theirs.value)}"
        yield f"Both sides agree as the mapping compares them: Enerflo {_says(mine)} {values}."
    else:
        yield f"Enerflo {_side(mine)}. The CRM {_side(theirs)}."
    if mine.pruned is not None:
        yield f"That is of the last version before it that is kept: {mine.pruned}."
    if mine.exists and mine.evidence is not None:
        which = "present value" if mine.is_later else "value"
        yield f"Enerflo's {which} is known since {_evidence(mine.evidence)}."
    yield _agreed(story.agreed, mine.value)


def _says(side: SideValue) -> str:
    return "says" if side.known_from is KnownFrom.PRESENT else "said"


def _side(side: SideValue) -> str:
    if side.is_later:
        now = f"says {_value(side.value)} now" if side.exists else "has no such record now"
        return f"{now}, and what it said then is not known"
    if not side.exists and side.rejected:
        return "has the record, but it is in quarantine"
    if not side.exists:
        return "has no such record" if side.known_from is KnownFrom.PRESENT else "had no such record"
    return f"{_says(side)} {_value(side.value)}"


def _agreed(agreed: Agreement | None, present: Any) -> str:
    if agreed is None:
        return "They are not known to have agreed on it."
    if agreed.value == agreed.crm_value:
        what = "on this value" if agreed.value == present else f"on {_value(agreed.value)}"
    else:
        what = f"with {_value(agreed.value)} in Enerflo and {_value(agreed.crm_value)} in the CRM"
    how = _AGREED_BY.get(agreed.agreed_by, agreed.agreed_by)
    return f"They last agreed {what} at {_moment(agreed.agreed_at)}: {how}."


def _evidence(evidence: Evidence) -> str:
    at = _moment(evidence.observed_at)
    source = f", {_source(evidence.reference)}" if evidence.reference else ""
    match evidence.observed_by:
        case "webhook" if evidence.event and evidence.received_at:
            told = f"the webhook {evidence.event} of {_moment(evidence.received_at)}"
            text = f"{at}, when the record was read because of {told}{source}"
        case None:
            text = at
        case "push":
            text = f"{at}, when it was read back after a write{source}"
        case by:
            text = f"{at}, by {by}{source}"
    others = []
    if evidence.observed_by != "webhook" and evidence.webhook_seen_at is not None:
        others.append(f"a webhook told it at {_moment(evidence.webhook_seen_at)}")
    if evidence.observed_by != "poll" and evidence.poll_seen_at is not None:
        others.append(f"the poll saw it at {_moment(evidence.poll_seen_at)}")
    if evidence.body_pruned is not None:
        others.append(f"the webhook's body was {evidence.body_pruned}")
    if evidence.pruned is not None:
        others.append(evidence.pruned)
    return f"{text}; {'; '.join(others)}" if others else text


def _source(reference: str) -> str:
    """Return a reference in words: the id of one of our runs, or the address of anything else."""
    kind, _, rest = reference.partition(":")
    return f"run {visible(rest)}" if kind in {"poll", "push", "replay"} else visible(reference)


def _step(step: Step) -> str:
    pruned = "" if step.plan_pruned is None else f"The plan was {step.plan_pruned}."
    another = "" if step.of_another is None else f"The row with this key was of {step.of_another} then."
    parts = [another, _what_was_said(step), _why(step), _what_came_of_it(step), pruned]
    return f"{_moment(step.recorded_at)}: {' '.join(part for part in parts if part)}"


def _what_was_said(step: Step) -> str:
    winner, other = _SIDES[step.direction]
    if step.plan_kind == "undo":
        said = f"The plan {_short(step.undoes)} was taken back"
        return f"{said}." if step.op != "update" else f"{said}: {other} had {_value(step.old_value)} from it."
    known = _known_by(step)
    match step.op:
        case "insert" if step.field is None:
            return f"{winner} had the record{known}, and {other} had no such record."
        case "insert":
            return (
                f"{winner} said {_value(step.said)}{known}, and {other} had no such record,"
                " so it is created there (create_in)."
            )
        case "delete":
            return f"{winner} has the record no longer{known}."
        case _:
            loser = f"{other[0].upper()}{other[1:]}"
            return f"{winner} said {_value(step.said)}{known}. {loser} said {_value(step.old_value)}."


def _known_by(step: Step) -> str:
    if step.direction == "to_enerflo":
        changed = step.changed_at
        return f" (its row changed at {_moment(changed)})" if changed is not None else ""
    if step.evidence is None:
        return f" (seen at {_moment(step.observed_at)})" if step.observed_at is not None else ""
    changed = step.changed_at
    own = f"changed at {_moment(changed)}, " if changed not in (None, step.evidence.observed_at) else ""
    return f" ({own}known since {_evidence(step.evidence)})"


def _why(step: Step) -> str:
    words = step.rule_words
    match step.rule:
        case "undo" | "create" | "change_order_checks":
            return ""
        case "source_of_truth":
            return f"{words[0].upper()}{words[1:]} of this field."
        case "delete" | "adopted" | "last_milestone":
            return f"{words[0].upper()}{words[1:]}."
    policy = _POLICIES.get(step.policy, f"The field's policy is {step.policy}")
    if step.rule == "only_side_moved":
        # The side that did not change still has the agreed value.
        when = f" ({_moment(step.agreed_at)})" if step.agreed_at is not None else ""
        return f"{policy}, and {words} on {_value(step.old_value)}{when}."
    if step.rule == "later_time" and {"enerflo_moved", "crm_moved"} <= set(step.facts):
        return f"{policy}: both sides had changed it since they agreed, and {words}. The other value lost."
    return f"{policy}, and {words}."


def _what_came_of_it(step: Step) -> str:
    target = "the CRM" if step.direction == "to_crm" else "Enerflo"
    where = f"in run {step.run_id}, plan {_short(step.plan_hash)}, approved by {visible(step.decided_by)}"
    match step.decision:
        case "applied":
            done = _done(step, target)
            how = f" ({step.reason})" if step.reason else ""
            kept = "" if step.kept_value is None else f" Enerflo keeps it as {_value(step.kept_value)}."
            return f"{done}{how} {where}.{kept}"
        case "handed_over":
            return f"{_handed_over(step)} {where}."
        case "superseded" if step.run_id == "copy":
            return f"It was handed over, and is not to be written any more: {step.reason} ({where})."
        case "moved":
            return f"Not written to {target}: {step.reason or 'it had moved'} ({where})."
        case "held":
            why = step.reason or "held by a check"
            return f"Not written to {target}, {why} (plan {_short(step.plan_hash)})."
        case "released":
            return f"{visible(step.decided_by)} let it through: {step.reason or 'no reason is known'}."
        case "refused" if step.run_id.startswith("rejected-"):
            return (
                f"Not written to {target}: {visible(step.decided_by)} refused this change of plan"
                f" {_short(step.plan_hash)} ({step.reason})."
            )
        case decision:
            return f"Not written to {target}, {decision}: {step.reason or 'no reason is known'} ({where})."


def _handed_over(step: Step) -> str:
    match step.op:
        case "insert":
            return f"The new row's value {_value(step.new_value)} was handed over for the CRM"
        case "delete":
            return "The row's deletion was handed over for the CRM"
    return f"{_value(step.new_value)} was handed over for the CRM"


def _done(step: Step, target: str) -> str:
    read_back = " and read back" if step.direction == "to_enerflo" else ""
    match step.op:
        case "insert":
            return f"Created in {target}{read_back} with {_value(step.new_value)}"
        case "delete" if isinstance(step.new_value, dict):
            return f"The row was marked as deleted in {target} ({', '.join(map(visible, step.new_value))})"
        case "delete":
            return f"The row was deleted from {target}"
    value = (
        "" if step.new_value == step.said and step.plan_kind != "undo" else f" as {_value(step.new_value)}"
    )
    return f"Written to {target}{value}{read_back}"


def _waiting(one: Waiting) -> str:
    match one.kind:
        case WaitingKind.PLANNED:
            target = "the CRM" if one.direction == "to_crm" else "Enerflo"
            until = f", and expires at {_moment(one.until)}" if one.until is not None else ""
            change = f"{_value(one.before)} to {_value(one.after)}"
            # Of a plan that nobody can apply, no change waits.
            head = "Planned" if one.until is None else "Waiting"
            return f"{head}: a change in {target} from {change}: {one.why} ({_short(one.reference)}{until})."
        case WaitingKind.UNDECIDED:
            return f"Waiting for a person: {one.why} (plan {_short(one.reference)})."
        case WaitingKind.REFUSED:
            return f"The sides differ on purpose: {one.why}. enerflo-sync reopen lets it be planned again."
        case WaitingKind.QUARANTINED:
            item = f"enerflo-sync quarantine show {(one.reference or '')[:12]}"
            return f"Waiting for a person: {one.why}; see {item}."
        case WaitingKind.ON_ITS_WAY:
            value = "" if one.field is None else f" {_value(one.after)},"
            return f"On its way to the CRM:{value} {one.why}."
        case WaitingKind.IN_FLIGHT:
            return f"The sides differ, and {one.why}: the next plan may resolve it."
        case WaitingKind.LEFT_APART:
            return f"The sides differ on purpose: {one.why}."
        case WaitingKind.NOT_WRITTEN:
            return f"The last change was not written ({one.why}); the next plan decides anew."
        case _:
            return f"The sides differ: {one.why}."


def _value(value: Any) -> str:
    """Return a value as it is written in a sentence."""
    if value is None:
        return "no value"
    if isinstance(value, str):
        text = visible(value)
        cut = (
            f"{text[:_MOST_CHARACTERS]}… ({len(text):,} characters)" if len(text) > _MOST_CHARACTERS else text
        )
        return f'"{cut}"'
    return visible(json.dumps(value, ensure_ascii=False, default=str))


def _short(plan_hash: str | None) -> str:
    return (plan_hash or "unknown")[:12]


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _wrapped(text: str) -> str:
    return "\n".join(
        textwrap.wrap(
            text, WIDTH, initial_indent=_MARGIN, subsequent_indent=_MARGIN * 2, break_on_hyphens=False
        )
    )
