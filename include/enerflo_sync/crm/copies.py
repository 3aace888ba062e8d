"""CRM tables that are copies: the columns that reveal one, and where its changes are handed over.

A value that is written into a copied table is overwritten by the next copy and never reaches the CRM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from enerflo_sync.crm.names import literal

# The table for handed-over changes that our migration makes.
OUR_CHANGES: Final = "sync.crm_changes"

# The schema of our copies of tables in another database, and the columns that we add to each copy: digests of
# the row and of its key, computed by the CRM's database, whether the row meets ``where``, and, in MySQL and
# MariaDB, which columns have a value that our copy cannot hold: it has null for them.
COPIES_SCHEMA: Final = "crm_copies"
ROW_HASH: Final = "_enerflo_row_hash"
KEY_HASH: Final = "_enerflo_key_hash"
INSIDE: Final = "_enerflo_inside"
UNREAD: Final = "_enerflo_unread"
UNREAD_BETWEEN: Final = "|"

# Columns that a team's own table needs so that a tool knows what to change.
NEEDED_COLUMNS: Final = ("change_id", "op", "key", "column", "after")

# Columns that copy tools add: Fivetran, Airbyte, Stitch and Singer, dlt, Hevo.
_OF_TOOLS = re.compile(r"_(fivetran|airbyte|sdc|dlt|_hevo_)_\w+", re.IGNORECASE)


class ChangesTo(BaseModel):
    """Where approved changes are handed over, and how long they may be on their way."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    changes: str = Field(
        OUR_CHANGES,
        description="A table or view of yours, as schema.table, that gets the same rows as sync.crm_changes.",
    )
    late_hours: float = Field(
        24,
        gt=0,
        le=24 * 90,
        description="After so many hours a change that the copy does not show is late: unexplained.",
    )


WriteTo = Literal["table", "changes", "salesforce"] | ChangesTo


def is_unread(column: str) -> str:
    """Return the condition that the CRM has a value of which our copy's row ``t`` has null (``UNREAD``)."""
    return f"{literal(column)} = any(string_to_array(t.{UNREAD}, '{UNREAD_BETWEEN}'))"


def copy_columns(names: Iterable[str]) -> list[str]:
    """Return the columns that a copy tool added to a table, in their order."""
    return [name for name in names if _OF_TOOLS.fullmatch(name)]
