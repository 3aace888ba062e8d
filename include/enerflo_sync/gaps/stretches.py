"""Holes in time: a list, the notes' edits or the drop were due to be read, and were not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from enerflo_sync.counted import count_of
from enerflo_sync.gaps.looks import JobRun, Look, Looks
from enerflo_sync.gaps.report import SAMPLES, Evidence, Hole, HoleKind, account_option, backfill_command
from enerflo_sync.gaps.schedule import Due
from enerflo_sync.resources.notes import SWEPT

# Stop counting due times here: nobody needs the exact number for a hole of weeks. The text says "or more".
_MOST_DUE = 1_000


@dataclass(frozen=True)
class Stretch:
    """A period without a complete read: from the last one, or the first attempt, to the next one.

    :param begin: the read before it; None if nothing was ever read.
    :param end: the read after it; None while there is none.
    """

    start: datetime
    begin: Look | None
    end: Look | None


def stretches(looks: Sequence[Look], began: datetime | None, due: Due, now: datetime) -> Iterator[Stretch]:
    """Yield the periods in which a read was due at least once and none succeeded, oldest first.

    A list that was never read has a period from the first attempt on, whenever the next one is due.

    :param began: the first attempt, if no read succeeded.
    """
    if not looks:
        if began is not None:
            yield Stretch(began, None, None)
        return
    for before, after in pairwise(looks):
        if is_missed(before.at, after.at, due):
            yield Stretch(before.at, before, after)
    if is_missed(looks[-1].at, now, due):
        yield Stretch(looks[-1].at, looks[-1], None)


def is_missed(start: datetime, end: datetime, due: Due) -> bool:
    """Return whether a read between the two was due, and the one after it, too."""
    return end >= due(due(start))


def record_holes(
    looks: Looks, lists: Collection[str], account: str, due: Due, now: datetime
) -> Iterator[Hole]:
    """Yield the periods in which lists were not read completely; equal periods form one hole.

    A poll reads every list completely, except for notes, of which it reads the new ones. So the next
    successful poll closes the hole.
    """
    found: dict[tuple[datetime, datetime | None], list[tuple[str, Stretch]]] = {}
    for name in lists:
        for one in stretches(looks.by_list.get(name, ()), looks.began, due, now):
            found.setdefault((one.start, one.end.at if one.end else None), []).append((name, one))
    for (start, end), some in found.items():
        names = [name for name, _ in some]
        first = some[0][1]
        before = first.begin.run_id if first.begin else None
        runs = [
            run
            for run in looks.runs
            if start <= run.started_at and run.run_id != before and (end is None or run.started_at < end)
        ]
        yield Hole(
            kind=HoleKind.RECORDS,
            start=start,
            end=end,
            not_seen=dict.fromkeys([*names, *(["milestones"] if "installs" in names else [])]),
            why=_why(runs, names, _due_times(start, end or now, due) - bool(end), first.begin is None),
            evidence=Evidence(
                runs=[run.run_id for run in runs if run.trouble][-SAMPLES:],
                watermarks={name: looks.watermarks[name] for name in names if name in looks.watermarks},
            ),
            is_open=end is None,
            closed_by=first.end.run_id if first.end else None,
            closed_at=end,
            closes=f"enerflo-sync poll{account_option(account)}",
            backfill=backfill_command(account, start, end or now),
        )


def _due_times(start: datetime, end: datetime, due: Due) -> int:
    count, moment = 0, due(start)
    while moment <= end and count < _MOST_DUE:
        count += 1
        moment = due(moment)
    return count


def _why(runs: Sequence[JobRun], names: Sequence[str], due_times: int, never: bool) -> str:
    """Return the reason for the missing read: runs failed, were partial, or did not start."""
    failed = [run for run in runs if run.failed]
    partial = [run for run in runs if not run.failed and any(name in run.incomplete for name in names)]
    parts = []
    if failed:
        reasons = ", ".join(sorted({run.trouble for run in failed}))
        parts.append(f"{count_of(len(failed), 'poll')} failed ({reasons})")
    if partial:
        reasons = "; ".join(
            sorted({reason for run in partial for name in names for reason in run.incomplete.get(name, ())})
        )
        parts.append(f"{count_of(len(partial), 'poll')} did not read all ({reasons})")
    absent = due_times - len(runs)
    if absent > 0:
        more = " or more" if due_times >= _MOST_DUE - 1 else ""
        parts.append(f"{count_of(absent, 'due poll')}{more} did not run")
    elif not parts:
        parts.append("the polls left it out" if runs else "the first poll has not ended")
    return ("Never read whole: " if never else "") + ", ".join(parts) + "."


def note_edit_holes(
    looks: Looks, account: str, sweep_every: timedelta, due: Due, now: datetime
) -> Iterator[Hole]:
    """Yield the time since all notes were last read, if that exceeds the schedule.

    Polls read only new notes, and all notes once per ``sweep_every``.
    """
    swept = looks.swept
    if swept is None or not is_missed(swept.at + sweep_every, now, due):
        return
    yield Hole(
        kind=HoleKind.NOTE_EDITS,
        start=swept.at,
        end=None,
        not_seen={"edited and deleted notes": None},
        why=f"All notes are due to be read once in {sweep_every / timedelta(hours=1):.0f} hours.",
        evidence=Evidence(watermarks={SWEPT: looks.watermarks[SWEPT]}),
        is_open=True,
        closes=f"enerflo-sync poll --full{account_option(account)}",
    )


def drop_holes(
    runs: Sequence[JobRun], began: datetime | None, account: str, due: Due, now: datetime
) -> Iterator[Hole]:
    """Yield the periods in which the drop was not read; the next ingest reads all of it."""
    looks = [
        Look(run.started_at, run.run_id) for run in runs if not run.failed and "files" not in run.incomplete
    ]
    for one in stretches(looks, began, due, now):
        end = one.end.at if one.end else None
        inside = [
            r for r in runs if one.start <= r.started_at and (end is None or r.started_at < end) and r.trouble
        ]
        what = f"{count_of(len(inside), 'ingest')} failed" if inside else "No ingest ran when it was due"
        yield Hole(
            kind=HoleKind.DROP,
            start=one.start,
            end=end,
            not_seen={"files in the drop": None},
            why=f"{what}.",
            evidence=Evidence(runs=[run.run_id for run in inside][-SAMPLES:]),
            is_open=end is None,
            closed_by=one.end.run_id if one.end else None,
            closed_at=end,
            closes=f"enerflo-sync ingest{account_option(account)}",
        )
