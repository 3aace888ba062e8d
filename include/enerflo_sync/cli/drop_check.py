"""The doctor's look at the drop of webhook files and its archive; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from enerflo_sync.cli.check import Check
from enerflo_sync.counted import count_of
from enerflo_sync.crm.doctor import Finding, Severity
from enerflo_sync.drop.drop import Content, Drop, DropFile
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.drop.refusals import read_refusals
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ingest import open_account_drop
from enerflo_sync.reconcile.render.wording import utc, visible

# Posts that the receiver refused longer ago are not mentioned.
_DAYS = 7
# A drop that somebody reads is empty within minutes, also after a burst.
_LONGEST_WAIT = timedelta(hours=1)
# By outcome, as the receiver notes it; another outcome stands as it is.
_WHY = {
    "unknown_hook": "404: wrong account, secret or path",
    "bad_signature": "401: the signature does not fit",
    "unsupported": "415: another content type",
    "too_large": "413: too large",
    "empty": "400: empty",
}
_HERE = "The doctor looks from this machine: run it where enerflo_webhooks runs."


def drop_check(context: AccountContext) -> Check | None:
    """Return whether webhook files can be read and moved from here; None for an account without webhooks."""
    if not context.settings.webhook_drop_uri:
        return None
    try:
        drop = open_account_drop(context)
        files = list(drop.waiting())
    except EnerfloSyncError as error:
        step = f"{error.next_step} {_HERE}" if error.next_step else _HERE
        found = _finding(context, "webhook_drop_uri", error.what.rstrip("."), "a drop that can be read", step)
        return Check("drop", "webhook files cannot be read from here", findings=[found])
    unlisted = ", and folders that may not be listed" if drop.unlisted else ""
    findings = [*_left(context, drop, files), *_unmovable(context, drop), *_refused(context, drop)]
    # That a bucket lets objects be moved is seen when one is.
    moves = "" if isinstance(drop, LocalDrop) else "; not tried: moving them to the archive"
    detail = f"{count_of(len(files), 'file')} to ingest in {drop.uri}{unlisted}{moves}"
    return Check("drop", detail, findings=findings)


def _left(context: AccountContext, drop: Drop, files: Sequence[DropFile]) -> list[Finding]:
    """Return a warning if files have waited longer than any ingest takes: perhaps no ingest runs.

    Receivers name files by arrival, so the first one by name is the oldest.
    """
    first = next((one for one in drop.read(files[:1], 1) if isinstance(one, Content)), None)
    if first is None or first.modified_at > context.clock.now() - _LONGEST_WAIT:
        return []
    arrived = f"of which the first arrived at {utc(first.modified_at)}"
    found = f"{count_of(len(files), 'file')} in the drop, {arrived}"
    step = "If it is off, switch the DAG enerflo_webhooks on; else read the note of its newest run."
    return [_finding(context, "webhook_drop_uri", found, "files that are ingested within seconds", step)]


def _unmovable(context: AccountContext, drop: Drop) -> list[Finding]:
    """Return why files of a folder cannot be moved to the archive."""
    if not isinstance(drop, LocalDrop):
        return []
    wanted = "a folder in which this user may make files"
    found = []
    for option, uri in (("webhook_drop_uri", drop.uri), ("webhook_archive_uri", drop.archive_uri)):
        # The archive is made with its first file.
        place = next(path for path in (Path(uri), *Path(uri).parents) if os.path.lexists(path))
        if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
            step = f"Ingested files would stay in the drop: change the rights, or correct the option. {_HERE}"
            why = "is no folder, or this user may not make files in it"
            found.append(_finding(context, option, f"{place}, which {why}", wanted, step))
    return found


def _refused(context: AccountContext, drop: Drop) -> list[Finding]:
    """Return what the receiver refused in the last days: a warning where it took nothing since its start."""
    note = read_refusals(drop)
    now = context.clock.now()
    if note is None or note.last_at < now - timedelta(days=_DAYS):
        return []
    posts = "; ".join(
        f"{count_of(one.posts, 'post')} ({_WHY.get(outcome, visible(outcome))}), last at {utc(one.last_at)}"
        for outcome, one in sorted(note.refused.items())
    )
    took = "and took others" if note.took_any else "and took none"
    found = f"since {utc(note.since)} the receiver refused {posts}, {took}"
    step = "Compare the address that stands in Enerflo with docs/receiver.md: account, secret, path."
    made = _finding(context, "webhook_drop_uri", found, "posts that are taken", step)
    return [replace(made, severity=Severity.HINT) if note.took_any else made]


def _finding(context: AccountContext, option: str, found: str, expected: str, step: str) -> Finding:
    spot = context.config.spot("accounts", context.account, option)
    what = f"accounts.{context.account}.{option}"
    return Finding(Severity.WARNING, str(spot.file), spot.line, what, found, expected, step)
