"""What goes wrong beside faults and kills: each kind drawn from the seed by itself, and each can be left out."""

from __future__ import annotations

import random
from collections.abc import Collection
from enum import StrEnum


class Trouble(StrEnum):
    """One kind of trouble. A kind that is added or left out changes nothing of the others."""

    # Enerflo keeps what it is sent in a spelling of its own; a date by its day alone.
    RESPELLING = "respelling"
    DAYS_KEPT = "days_kept"
    # The install list is older than a direct read; a page inside a 200 is empty or short; for a whole job the
    # key answers for another company; for a whole poll it sees half of the installs and as many new ones; it
    # is rotated while jobs use it.
    LAGGING_LIST = "lagging_list"
    SHORT_PAGES = "short_pages"
    OTHER_COMPANY = "other_company"
    HALF_SEEN = "half_seen"
    KEY_ROTATION = "key_rotation"
    # A worker's clock differs from the database's.
    SKEWED_CLOCKS = "skewed_clocks"
    # CRM rows arrive with times of before, and from transactions that stay open for long.
    LATE_ROWS = "late_rows"
    # People change CRM rows past what keeps their time of change: it stays as it was.
    UNMOVED_TIMES = "unmoved_times"
    # Somebody works on the very rows of a plan until they are written; the two sides change the same field;
    # rows get other links; rows are copied.
    MEDDLING = "meddling"
    BOTH_CHANGE = "both_change"
    RELINKS = "relinks"
    TWINS = "twins"
    # The CRM keeps rows that were deleted, with a mark; people mark rows, and bring them back.
    SOFT_DELETED = "soft_deleted"
    # The CRM's tables are a copy that is loaded again: many rows go at once, deleted or marked, and come back later;
    # a copy without primary key, which keeps each older version as a row that is marked as deleted.
    RESYNCED = "resynced"
    OLD_VERSIONS = "old_versions"
    # The CRM's tables are a copy that lags; a slow courier carries what is handed over, loses some, and brings some
    # twice or in another order.
    HANDED_OVER = "handed_over"
    # The CRM is Salesforce, of which the tables are a copy that lags; its answers get lost, it refuses, and it is closed.
    SALESFORCE = "salesforce"
    # The CRM's tables are in a database of their own: compared by copies, and written in transactions apart.
    ELSEWHERE = "elsewhere"
    # Some milestones stand in columns of one row, too, beside those in rows of their own; installs call their
    # milestones otherwise.
    WIDE = "wide"
    # Rows name an install in another spelling: where keys are compared as they stand, and where the mapping says
    # that they are whole numbers; rows leave what ``where`` chooses, and come back.
    NEAR_KEYS = "near_keys"
    TYPED_KEYS = "typed_keys"
    CHOSEN_ROWS = "chosen_rows"
    # Two tables of sync.yaml stand for one CRM table of installs, whose rows go from one branch to the other.
    BRANCHES = "branches"
    # An import gives each row the key of the next one, where rows have keys of their own.
    RENUMBERED = "renumbered"
    # A job loads a table anew from a source that does not get what our jobs write, and dates all rows.
    RELOADED = "reloaded"
    # A person says no to a plan.
    REFUSALS = "refusals"
    # A person takes back what a plan wrote.
    UNDONE = "undone"
    # The CRM has another shape: milestones by the day, ids as text, keys of its own beside the links.
    DAY_COLUMNS = "day_columns"
    TEXT_KEYS = "text_keys"
    OWN_KEYS = "own_keys"
    # sync.yaml declares a column of installs and maps it while jobs run, and reads it from another path later;
    # Enerflo has something else there now and then, of another type, or nothing.
    DECLARED_COLUMN = "declared_column"
    # An install becomes another customer's, which no event tells of.
    NEW_OWNERS = "new_owners"
    # The data team edits sync.yaml between two jobs: a column is not mapped for a while, words of the CRM stand for
    # other statuses, another side is the source of truth, a tolerance comes or goes.
    UNMAPPED = "unmapped"
    RELABELLED = "relabelled"
    NEW_TRUTHS = "new_truths"
    TOLERANCES = "tolerances"
    # A column of the CRM, or a table, gets another name there and in sync.yaml, at once or one after the other; a
    # table moves to another schema; a table is called otherwise in sync.yaml alone; other sides may be written.
    RENAMED_COLUMNS = "renamed_columns"
    MOVED_TABLES = "moved_tables"
    RENAMED_TABLES = "renamed_tables"
    OTHER_MODES = "other_modes"
    # Conditions on rows (``where``) go and come back; a table is not written for a while, and its changes are handed
    # over to a tool that nobody has set up yet.
    NARROWED = "narrowed"
    REROUTED = "rerouted"
    # For a while the account is called otherwise, which no job may take for another account.
    OTHER_NAME = "other_name"


ALL = frozenset(Trouble)
# Edits of sync.yaml. Half of the seeds have none at all.
OF_SYNC_YAML = frozenset(
    {
        *(Trouble.UNMAPPED, Trouble.RELABELLED, Trouble.NEW_TRUTHS, Trouble.TOLERANCES),
        *(Trouble.RENAMED_COLUMNS, Trouble.MOVED_TABLES, Trouble.RENAMED_TABLES, Trouble.OTHER_MODES),
        *(Trouble.NARROWED, Trouble.REROUTED, Trouble.OTHER_NAME),
    }
)
# What the engine withstands: the seeds of `make test` and of `make simulate` draw from these alone.
SWITCHED_ON: frozenset[Trouble] = ALL
# Half of a seed's kinds at most are there at once: more would hide one another.
_CHANCE = 0.25


def troubles_of(
    seed: int, among: Collection[Trouble] = SWITCHED_ON, *, always: Collection[Trouble] = ()
) -> dict[Trouble, float]:
    """Return the kinds of trouble of a seed, each with its rate above 0 and up to 1.

    :param among: the kinds to draw from.
    :param always: kinds that the seed has in any case.
    """
    found = {}
    is_edited = random.Random(f"{seed}/sync.yaml").random() < 0.5
    for kind in Trouble:
        rng = random.Random(f"{seed}/trouble/{kind}")
        is_there, rate = rng.random() < _CHANCE, 0.1 + 0.9 * rng.random()
        is_there = is_there and (is_edited or kind not in OF_SYNC_YAML)
        if kind in always or (kind in among and is_there):
            found[kind] = rate
    return found
