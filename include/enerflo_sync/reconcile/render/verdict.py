"""The sentence that opens a report, and whether it may be shown as good news."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from enerflo_sync.counted import count_of, number
from enerflo_sync.reconcile.render.doubts import (
    hardly_matched_tables,
    is_too_early,
    unmatched_tables,
    were_compared,
)
from enerflo_sync.reconcile.render.summary import compared_rows
from enerflo_sync.reconcile.render.wording import duration, utc
from enerflo_sync.reconcile.report import ReconciliationReport, Scope, TableReport


class Tone(StrEnum):
    """The colour of a verdict. Only ``good`` is green."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


class Verdict(StrEnum):
    """What a reconciliation's report may claim; the first value that fits."""

    NEVER_POLLED = "never_polled"
    NOTHING_TO_COMPARE = "nothing_to_compare"
    # A table lost many of its rows at once: they may be deleted, or a copy may be loading.
    GONE_AT_ONCE = "gone_at_once"
    OVER_BUDGET = "over_budget"
    # A table has rows but no match: one side is empty, or the keys never match.
    NOTHING_MATCHED = "nothing_matched"
    # Most rows of a table do not match although both sides have rows.
    FEW_MATCHED = "few_matched"
    # Records are reported as missing although the CRM has rows with their key in another spelling.
    KEYS_APART = "keys_apart"
    # Enerflo was not read when it was due, so the mirror may be out of date.
    OVERDUE = "overdue"
    # No row of a copy arrived for longer than the mapping says, so the CRM may say something else by now.
    COPY_OVERDUE = "copy_overdue"
    # So many differences are in flight that little can be said yet, as after a first poll.
    TOO_EARLY = "too_early"
    TOLERATED = "tolerated"
    EXPLAINED = "explained"
    AGREED = "agreed"


_TONES = {
    Verdict.NEVER_POLLED: Tone.UNSURE,
    Verdict.NOTHING_TO_COMPARE: Tone.UNSURE,
    Verdict.GONE_AT_ONCE: Tone.UNSURE,
    Verdict.OVER_BUDGET: Tone.BAD,
    Verdict.NOTHING_MATCHED: Tone.UNSURE,
    Verdict.FEW_MATCHED: Tone.UNSURE,
    Verdict.KEYS_APART: Tone.UNSURE,
    Verdict.OVERDUE: Tone.UNSURE,
    Verdict.COPY_OVERDUE: Tone.UNSURE,
    Verdict.TOO_EARLY: Tone.UNSURE,
    Verdict.TOLERATED: Tone.GOOD,
    Verdict.EXPLAINED: Tone.GOOD,
    Verdict.AGREED: Tone.GOOD,
}


@dataclass(frozen=True, slots=True)
class VerdictText:
    """A verdict in words: the headline, the facts behind it, and the next step (may be empty)."""

    verdict: Verdict
    headline: str
    detail: str
    next_step: str

    @property
    def tone(self) -> Tone:
        """Return the colour of the verdict."""
        return _TONES[self.verdict]


def verdict_of(report: ReconciliationReport) -> Verdict:
    """Return what the report may claim; good news needs a poll in time and matching rows."""
    # No list is read for a report without a table, so it says nothing of polls.
    if report.mirror_as_of is None and report.tables:
        return Verdict.NEVER_POLLED
    if report.gone_at_once:
        return Verdict.GONE_AT_ONCE
    if not compared_rows(report):
        return Verdict.NOTHING_TO_COMPARE
    if report.unexplained > report.budget:
        return Verdict.OVER_BUDGET
    if unmatched_tables(report):
        return Verdict.NOTHING_MATCHED
    if hardly_matched_tables(report):
        return Verdict.FEW_MATCHED
    if any(table.near_keys for table in report.tables):
        return Verdict.KEYS_APART
    if report.overdue_tables:
        return Verdict.OVERDUE
    if report.late_copies:
        return Verdict.COPY_OVERDUE
    if is_too_early(report):
        return Verdict.TOO_EARLY
    if report.unexplained:
        return Verdict.TOLERATED
    return Verdict.EXPLAINED if report.differences else Verdict.AGREED


def is_all_clear(report: ReconciliationReport) -> bool:
    """Return whether the differences are explained and the comparison itself can be trusted.

    That is so if Enerflo was read in time, copies got rows in time, rows matched, no table lost many rows at
    once, and the budget holds. Explained differences may wait for a person: the verdict's text says so.
    """
    surprised = report.overdue_tables or report.late_copies or report.gone_at_once
    return report.within_budget and were_compared(report) and not surprised


def verdict_text(report: ReconciliationReport) -> VerdictText:
    """Return the report's verdict in words."""
    words = _in_words(report)
    further = []
    if report.overdue_tables and words.verdict not in (Verdict.OVERDUE, Verdict.NEVER_POLLED):
        further.append(_overdue(report))
    if report.late_copies and words.verdict is not Verdict.COPY_OVERDUE:
        further.append(_late_copies(report))
    if report.quarantined:
        further.append(
            f"Enerflo's present values of {count_of(report.quarantined, 'record')} could not be read, and"
            " were not compared (`enerflo-sync quarantine list`)."
        )
    if report.waiting:
        verb = "waits" if report.waiting == 1 else "wait"
        further.append(
            f"{count_of(report.waiting, 'explained difference')} {verb} for a person: the last plan asks, or"
            " the change could not be made."
        )
    return replace(words, detail=" ".join([words.detail, *further]))


def _in_words(report: ReconciliationReport) -> VerdictText:
    verdict = verdict_of(report)
    compared = _compared(report)
    match verdict:
        case Verdict.NEVER_POLLED:
            return VerdictText(
                verdict,
                "Enerflo was never polled completely, so nothing can be called equal",
                "The mirror has no complete poll yet. The figures below show what it holds so far.",
                "Run the DAG enerflo_poll or `enerflo-sync poll` until it finishes, then reconcile again.",
            )
        case Verdict.NOTHING_TO_COMPARE:
            return VerdictText(verdict, "There was nothing to compare", _nothing(report), _CHECK_SET_UP)
        case Verdict.GONE_AT_ONCE:
            return _gone_at_once(report)
        case Verdict.NOTHING_MATCHED:
            return _nothing_matched(report)
        case Verdict.FEW_MATCHED:
            return _few_matched(report)
        case Verdict.KEYS_APART:
            return _keys_apart(report)
        case Verdict.OVERDUE:
            unreadable = f"Milestones of {count_of(report.unreadable, 'install')} could not be read"
            return VerdictText(
                verdict,
                f"Enerflo was last read whole {age} before the comparison"
                if (age := _age(report)) is not None
                else f"{unreadable} before the comparison",
                f"{compared}; {_share_unexplained(report)}. {_overdue(report)}",
                _READ_AGAIN,
            )
        case Verdict.COPY_OVERDUE:
            return VerdictText(
                verdict,
                f"No row of {_names(report.late_copies)} arrived in time before the comparison",
                f"{compared}; {_share_unexplained(report)}. {_late_copies(report)}",
                _COPY_AGAIN,
            )
        case Verdict.TOO_EARLY:
            return VerdictText(
                verdict,
                f"{number(report.in_flight)} of {count_of(report.differences, 'difference')} are in flight,"
                " not judged yet",
                f"{compared}; {_share_unexplained(report)}.",
                "Reconcile again after `reconcile.in_flight_minutes`: what stays gets another cause by then."
                " After a first poll that is usual.",
            )
        case Verdict.OVER_BUDGET | Verdict.TOLERATED:
            return _unexplained(report, verdict)
        case Verdict.EXPLAINED:
            return VerdictText(verdict, _explained(report), f"{compared}.", "")
        case Verdict.AGREED:
            headline = "Both sides agree, except for records that could not be read"
            headline = headline if report.quarantined else "Both sides agree"
            return VerdictText(verdict, headline, f"{compared}, without a difference.", "")


_CHECK_SET_UP = (
    "Check with `enerflo-sync doctor` that the account and the mapped tables are the right ones, and that "
    "the CRM tables are loaded."
)

_READ_AGAIN = (
    "`enerflo-sync gaps` says what went wrong. Run the DAG enerflo_poll or `enerflo-sync poll`, then "
    "reconcile again. Where you poll less often, say so in sync.yaml: accounts.schedule.poll."
)

_COPY_AGAIN = (
    "See whether the tool that copies the table still runs, then reconcile again. Where the CRM changes less "
    "often, say so in sync.yaml: arrives_within_hours of that table."
)


def _compared(report: ReconciliationReport) -> str:
    rows, tables = count_of(compared_rows(report), "row"), count_of(len(report.tables), "table")
    if report.scope is Scope.FULL:
        return f"{rows} compared in {tables}"
    return f"{rows} in {tables} (compared now: those that changed)"


def _explained(report: ReconciliationReport) -> str:
    """Return the headline of a report without an unexplained difference."""
    judged = report.differences - report.in_flight
    if not report.in_flight:
        return (
            "The only difference is explained"
            if judged == 1
            else f"All {number(judged)} differences are explained"
        )
    waits = "in flight, not judged yet"
    if not judged:
        one = report.in_flight == 1
        all_of_them = f"All {number(report.in_flight)} differences are"
        return f"{'The only difference is' if one else all_of_them} {waits}"
    explained = f"{count_of(judged, 'difference')} {'is' if judged == 1 else 'are'} explained"
    return f"{explained}; {number(report.in_flight)} {'is' if report.in_flight == 1 else 'are'} {waits}"


def _lists_overdue(report: ReconciliationReport) -> list[tuple[str, datetime]]:
    """Return the tables whose list was not read when it was due, each with when it was read last."""
    return [
        (table.table_name, table.mirror_as_of)
        for table in report.tables
        if table.overdue and table.mirror_as_of is not None
    ]


def _age(report: ReconciliationReport) -> str | None:
    """Return how old the oldest list is that was due, if there is one."""
    times = [read_at for _, read_at in _lists_overdue(report)]
    return duration(report.started_at - min(times)) if times else None


def _overdue(report: ReconciliationReport) -> str:
    sentences = []
    if lists := ", ".join(f"{name} as of {utc(read_at)}" for name, read_at in _lists_overdue(report)):
        sentences.append(f"Polls were due since and did not read all of Enerflo: the mirror has {lists}.")
    if report.unreadable:
        installs = count_of(report.unreadable, "install")
        sentences.append(
            f"Enerflo's list omits the milestones of {installs}, and these could not be read although polls"
            " were due: their present values at Enerflo were not compared."
        )
    return " ".join(sentences)


def _late_copies(report: ReconciliationReport) -> str:
    tables = "; ".join(
        f"{table.crm_table} got its newest row"
        f" {'at a time that no row says' if table.late_copy.since is None else utc(table.late_copy.since)}"
        f" ({table.late_copy.hours:g} h allowed)"
        for table in report.late_copies
        if table.late_copy is not None
    )
    return f"What the CRM says by now was not compared: {tables}."


def _names(tables: Sequence[TableReport]) -> str:
    return ", ".join(dict.fromkeys(table.crm_table for table in tables))


def _nothing(report: ReconciliationReport) -> str:
    if not report.tables:
        return "No table of this account is mapped, or none is compared (reconcile: false)."
    return f"{count_of(len(report.tables), 'mapped table')} without a row on either side."


def _nothing_matched(report: ReconciliationReport) -> VerdictText:
    tables = unmatched_tables(report)
    names = ", ".join(t.table_name for t in tables)
    sizes = "; ".join(
        f"{t.table_name}: {count_of(t.enerflo_rows, 'row')} in Enerflo, {number(t.crm_rows)} in the CRM"
        for t in tables
    )
    return VerdictText(
        Verdict.NOTHING_MATCHED,
        f"No row of {names} stands on both sides",
        f"{sizes}. {_compared(report)}; {_share_unexplained(report)}.",
        _CHECK_SET_UP,
    )


def _gone_at_once(report: ReconciliationReport) -> VerdictText:
    first, *others = sorted(report.gone_at_once, key=lambda one: -one.gone)
    more = "".join(f" {one.sentence}" for one in others)
    return VerdictText(
        Verdict.GONE_AT_ONCE,
        first.sentence,
        f"{_compared(report)}; {_share_unexplained(report)}.{more} A plan concludes nothing from missing rows"
        f" of {_listed(report)} until a look finds them so for an hour.",
        "Let a copy that is being loaded finish, then reconcile again. Where somebody deleted the rows:"
        " reconcile again an hour after this look, and they count as deleted.",
    )


def _listed(report: ReconciliationReport) -> str:
    return " and ".join(one.table_name for one in report.gone_at_once)


def _few_matched(report: ReconciliationReport) -> VerdictText:
    tables = hardly_matched_tables(report)
    shares = "; ".join(
        f"{t.table_name}: {count_of(t.matched, 'row')} on both sides, of {number(t.enerflo_rows)} in Enerflo"
        f" and {number(t.crm_rows)} in the CRM"
        for t in tables
    )
    return VerdictText(
        Verdict.FEW_MATCHED,
        f"Most rows of {', '.join(t.table_name for t in tables)} stand on one side only",
        f"{shares}. {_compared(report)}; {_share_unexplained(report)}.",
        "Check that the key of that table in sync.yaml finds the same record on both sides (`enerflo-sync"
        " doctor`), and that the CRM's table holds this account's records.",
    )


def _keys_apart(report: ReconciliationReport) -> VerdictText:
    tables = [table for table in report.tables if table.near_keys]
    found = " and ".join(f"{number(t.near_keys)} of {t.table_name}" for t in tables)
    return VerdictText(
        Verdict.KEYS_APART,
        f"Records count as missing that the CRM seems to have under another spelling of the key: {found}",
        "Their rows hold the key with blanks, signs, zeros in front or letters beside its number, in another"
        " case, or as a number that lost its last digits, and meet nothing as it is compared."
        f" {_compared(report)}; {_share_unexplained(report)}."
        " A plan makes no second row of them.",
        "`enerflo-sync doctor` proposes how to read the key of that table in sync.yaml (type, trim,"
        " strip_zeros, fold_case). Where it proposes nothing, clean the keys or map a view that does.",
    )


def _share_unexplained(report: ReconciliationReport) -> str:
    total, unexplained = report.differences, report.unexplained
    verb = "is" if unexplained == 1 else "are"
    of = f"of {count_of(total, 'difference')}"
    return f"{number(unexplained)} {of} {verb} unexplained, {number(report.budget)} allowed"


def _unexplained(report: ReconciliationReport, verdict: Verdict) -> VerdictText:
    known = report.differences - report.unexplained
    others = f"; {count_of(known, 'other difference')} with a known cause" if known else ""
    next_step = ""
    if verdict is Verdict.OVER_BUDGET:
        next_step = "Start with the samples marked Unexplained below: each needs a correction or a rule."
    return VerdictText(
        verdict,
        _share_unexplained(report),
        f"{_compared(report)}{others}.",
        next_step,
    )
