"""The page of one record: both sides' values with reasons, its history, and its related records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec
import sqlalchemy as sa

from enerflo_sync.addresses import Addresses
from enerflo_sync.counted import count_of
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.explanation import Explanation, FieldMasks, FieldStory, masked_explanation
from enerflo_sync.explain.read import KnownRecord, read_known
from enerflo_sync.explain.text import record_sentences, story_sentences, title
from enerflo_sync.explain.waiting import FoundDifference
from enerflo_sync.inbox.quarantine import next_step
from enerflo_sync.inbox.quarantine_items import QuarantineItem
from enerflo_sync.pages.pairs import ShownPair, shown_pair
from enerflo_sync.pages.record_history import History, Position, position_of, read_history
from enerflo_sync.pages.record_neighbours import Neighbours, read_neighbours
from enerflo_sync.reconcile.record import singular
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import VALUE_WIDTH, render_page
from enerflo_sync.reconcile.render.wording import NO_RECORD, NOT_IN_MIRROR, ShownValue, ValueKind, shown_value
from enerflo_sync.reconcile.report import Cause, Difference
from enerflo_sync.warehouse.engine import transaction_time

# The number of sentences per field, the newest of the ledger.
_MOST_STEPS: Final = 5
# If a record has more fields than this, the fields that agree are folded away.
_OPEN_FIELDS: Final = 20

RULES: Final[Mapping[str, str]] = {
    "enerflo": "Enerflo's value",
    "crm": "the CRM's value",
    "newest": "the newest value",
    "review": "a person decides",
}


@dataclass(frozen=True)
class FieldLine:
    """One field of the record.

    :param pair: both sides' values; None for a column that the mapping does not compare.
    :param since: since when the sides differ, or, if they agree, when that was last recorded.
    :param sentences: the reasons, as on the command line.
    """

    field: str
    pair: ShownPair | None
    differs: bool
    cause: Cause | None
    since: datetime | None
    rule: str
    sentences: Sequence[str]
    waits: bool


@dataclass(frozen=True)
class RecordPage:
    """The content of a record's page.

    :param word: the singular of the table's name; :param key: the key by which the page was requested.
    :param revealed: personal data is shown; :param masked: some of it can be revealed.
    :param one_sided: a side lacks the record, so that its fields do not differ singly.
    """

    account: str
    table: str
    word: str
    key: str
    title: str
    sentences: Sequence[str]
    lines: Sequence[FieldLine]
    history: History
    items: Sequence[QuarantineItem]
    neighbours: Neighbours
    now: datetime
    revealed: bool
    masked: bool
    one_sided: bool

    @property
    def differing(self) -> Sequence[FieldLine]:
        """Return the fields that differ."""
        return [line for line in self.lines if line.differs]

    @property
    def agreeing(self) -> Sequence[FieldLine]:
        """Return the other fields."""
        return [line for line in self.lines if not line.differs]

    @property
    def open_items(self) -> Sequence[QuarantineItem]:
        """Return the record's open items in quarantine."""
        return [item for item in self.items if item.state == "open"]


def read_record_page(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    table: str,
    key: str,
    to: Addresses,
    *,
    before: str | None = None,
    reveal: bool = False,
) -> RecordPage:
    """Return one record, masked unless revealed, with a page of its history.

    :param table: a name of ``sync.yaml``, or a kind of records in the singular.
    :param key: a key for :func:`enerflo_sync.explain.read.explain`.
    :param before: the position in the history before which the page begins.
    :raises ConfigurationError: the table or record does not exist, or the position is invalid.
    """
    position: Position = position_of(before)
    known = _known(connection, config, account, table, key)
    name = known.explanation.table_name
    masks = FieldMasks(config.tables_for(account), name)
    shown = known.explanation if reveal else masked_explanation(known.explanation, config)
    shown = msgspec.structs.replace(shown, table=singular(name))
    neighbours = read_neighbours(connection, config, account, known.record, to)
    return RecordPage(
        account=account,
        table=name,
        word=shown.table,
        key=key,
        title=title(shown),
        sentences=record_sentences(shown),
        lines=_lines(known, shown),
        history=read_history(
            connection, account, known, _names(known, neighbours), None if reveal else masks, position
        ),
        items=known.items,
        neighbours=neighbours,
        now=transaction_time(connection),
        revealed=reveal,
        one_sided=not (known.record.in_enerflo and known.record.crm_rows),
        masked=any(story.masked for story in shown.fields) or shown.key != known.explanation.key,
    )


def _known(connection: sa.Connection, config: SyncConfig, account: str, table: str, key: str) -> KnownRecord:
    if "\0" in table or "\0" in key:
        raise _unreadable(table)
    try:
        return read_known(connection, config, account, table, key)
    except sa.exc.DataError:
        raise _unreadable(table) from None


def _unreadable(table: str) -> ConfigurationError:
    return ConfigurationError(
        "no record has such a key.",
        where=f"the address, table {table[:60]!r}",
        next_step="Search for the record by its id, deal, name or e-mail.",
    )


def _names(known: KnownRecord, neighbours: Neighbours) -> list[str]:
    """Return the record's names in ``sync.webhook_events.record``, for events that name no install."""
    if neighbours.deal is not None:
        return [f"deals/{neighbours.deal}"]
    key = known.record.named_key or known.record.enerflo_key or {}
    return [f"customers/{key['customer_id']}"] if "customer_id" in key else []


def _lines(known: KnownRecord, shown: Explanation) -> list[FieldLine]:
    bare = {story.field: story for story in known.explanation.fields}
    whole = known.found.get(None)
    lines = [_line(story, bare[story.field], known.found.get(story.field) or whole) for story in shown.fields]
    return sorted(lines, key=lambda line: (not line.differs, not line.waits))


def _line(story: FieldStory, bare: FieldStory, found: FoundDifference | None) -> FieldLine:
    compared = story.enerflo is not None and story.crm is not None
    differs = compared and not story.same
    agreed = story.agreed.agreed_at if story.agreed is not None else None
    since = (found.since if found is not None else None) if differs else agreed
    return FieldLine(
        field=story.field,
        pair=_pair(story, bare),
        differs=differs,
        cause=found.cause if found is not None and differs else None,
        since=since,
        rule=RULES.get(story.policy or "", ""),
        sentences=_sentences(story),
        waits=bool(story.waiting),
    )


def _pair(story: FieldStory, bare: FieldStory) -> ShownPair | None:
    if story.enerflo is None or story.crm is None or bare.enerflo is None or bare.crm is None:
        return None
    hidden, plain = (
        Difference("", {}, one.field, mine.value, theirs.value, Cause.UNEXPLAINED, story.masked)
        for one, mine, theirs in ((story, story.enerflo, story.crm), (bare, bare.enerflo, bare.crm))
    )
    pair = shown_pair(hidden, plain)
    if bare.enerflo.value == bare.crm.value:
        # If two values look alike because they are equal, they are shown unchanged.
        alike = shown_value(story.enerflo.value, VALUE_WIDTH)
        pair = replace(pair, mine=(alike.short,), theirs=(alike.short,), mine_value=alike, theirs_value=alike)
    if not story.enerflo.exists:
        said = NOT_IN_MIRROR if story.enerflo.rejected else NO_RECORD
        pair = replace(pair, mine=(said,), mine_value=ShownValue(said, said, ValueKind.REMARK))
    if not story.crm.exists:
        gone = ShownValue(NO_RECORD, NO_RECORD, ValueKind.REMARK)
        pair = replace(pair, theirs=(NO_RECORD,), theirs_value=gone)
    return pair


def _sentences(story: FieldStory) -> list[str]:
    older = len(story.steps) - _MOST_STEPS
    if older <= 0:
        return story_sentences(story)
    told = story_sentences(msgspec.structs.replace(story, steps=story.steps[-_MOST_STEPS:]))
    return [*told, f"{count_of(older, 'older decision')} stand below, and in enerflo-sync explain."]


def render_record(page: RecordPage, frame: Frame, *, reveal_token: str = "") -> str:
    """Return the page.

    :param reveal_token: the token of the form that reveals; empty if the reader may not reveal.
    """
    here = frame.to.record(page.account, page.table, page.key)
    return render_page(
        "record.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        here=here,
        act=f"{frame.to.root}/record/{page.account}",
        reveal_token=reveal_token,
        older=None
        if page.history.before is None
        else f"{here}?{urlencode({'before': page.history.before})}#history",
        fold=len(page.lines) > _OPEN_FIELDS,
        next_step=next_step,
        minute=timedelta(minutes=1),
        plan_of=lambda plan_hash: frame.to.plan(page.account, plan_hash),
        differences=frame.to.differences(page.account, table=page.table),
    )
