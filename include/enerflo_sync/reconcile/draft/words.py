"""What the names of columns say: their words, and how near they are to a column of the mirror."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_BREAK = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
# Parts that tools and CRMs add to every column's name: HubSpot's property_ and hs_, Salesforce's __c.
_NOISE = frozenset("property properties hs c custom field cf".split())
_SAME = 1.0
_WITHIN = 0.8
_PARTLY = 0.5
# Two words with this many common letters share a stem: permit, permitting.
_STEM = 5

# By kind and column of the mirror: the names that CRMs use for it.
MEANINGS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "installs": {
        "deal_id": ("enerflo deal id", "deal uuid"),
        "customer_name": (
            "customer name",
            "customer",
            "name",
            "deal name",
            "account name",
            "homeowner",
            "client name",
            "opportunity name",
        ),
        "customer_id": ("enerflo customer id", "customer id"),
        "status_name": (
            "status name",
            "status",
            "stage name",
            "stage",
            "deal stage",
            "deal pipeline stage id",
            "project status",
            "install status",
            "phase",
        ),
        "current_milestone": ("current milestone",),
        "office_name": ("office name", "office", "branch"),
        "agent_name": ("agent name", "agent", "sales rep", "consultant"),
        "system_size_kw": ("system size kw", "system size", "size kw", "system kw", "kw"),
        "panel_type": ("panel type", "panel", "module", "module type", "panel model"),
        "panel_count": ("panel count", "panels", "number of panels", "module count", "panel quantity"),
        "battery_configuration": ("battery configuration", "battery", "batteries", "storage"),
        "contract_amount": ("contract amount", "amount", "contract price", "contract value", "total price"),
        "created_at": ("created at", "created", "created date", "create date", "createdate"),
    },
    "milestones": {
        "title": ("title", "milestone", "milestone name", "name"),
        "started_at": ("started at", "started", "start date", "begun"),
        "due_at": ("due at", "due", "due date", "target date", "scheduled", "expected"),
        "completed_at": (
            "completed at",
            "completed",
            "completion date",
            "approved",
            "granted",
            "passed",
            "done",
            "finished",
        ),
    },
    "notes": {
        "install_id": ("enerflo install id", "install id", "project id"),
        "body": ("body", "note", "text", "content", "comment", "note body"),
        "created_at": ("created at", "created", "created date", "create date"),
    },
    "leads": {
        "first_name": ("first name", "firstname"),
        "last_name": ("last name", "lastname", "surname"),
        "email": ("email", "email address"),
        "mobile": ("mobile", "phone", "mobile phone", "phone number"),
        "address": ("address", "street", "street address", "mailing street"),
        "city": ("city", "mailing city"),
        "state": ("state", "mailing state", "state code"),
        "zip": ("zip", "zip code", "postal code", "mailing postal code"),
        "customer_id": ("enerflo customer id", "customer id"),
        "status_name": ("enerflo status",),
    },
    "change_orders": {
        "install_id": ("enerflo install id", "install id", "project id"),
        "status": ("status", "change order status"),
        "signed_at": ("signed at", "signed", "signed date"),
        "panel_type_new": ("panel type", "new panel type", "panel"),
        "panel_count_new": ("panel count", "new panel count", "panels"),
        "battery_new": ("battery", "battery configuration", "new battery"),
        "total_change": ("total change", "amount", "price change", "change amount"),
        "adders": ("adders",),
    },
}

# By kind: the mirror's key, and the names that CRMs use for the column that holds it.
KEYS: Mapping[str, tuple[str, Sequence[str]]] = {
    "installs": ("install_id", ("enerflo install id", "enerflo id", "install id", "enerflo project id")),
    "notes": ("note_id", ("enerflo note id", "note id")),
    "leads": ("customer_id", ("enerflo customer id", "customer id", "enerflo contact id")),
    "change_orders": ("change_order_id", ("enerflo change order id", "change order id")),
}
MILESTONE_ID = ("milestone id", "enerflo milestone id")

UPDATED_AT = (
    "updated at",
    "last modified date",
    "lastmodifieddate",
    "modified at",
    "date modified",
    "last modified",
    "updatedat",
    "updated",
    "system modstamp",
    "changed at",
)
DELETED = ("is deleted", "deleted", "isdeleted", "archived", "is archived")
DELETED_AT = ("deleted at", "deletedat", "date deleted")
# Names of columns whose value tells the kind of a row.
SORTS = (
    "record type name",
    "record type id",
    "record type",
    "pipeline",
    "pipeline id",
    "deal pipeline id",
    "business unit",
    "division",
    "department",
    "type",
)


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a column's name in lower case, without those that a CRM adds to every column."""
    found = [word.lower() for word in _BREAK.split(name) if word]
    return tuple(word for word in found if word not in _NOISE) or tuple(found)


def nearness(name: str, meanings: Iterable[str]) -> float:
    """Return how near a column's name is to the nearest meaning: 1 is equal, 0 has nothing in common."""
    words = words_of(name)
    return max((_near(words, tuple(meaning.split())) for meaning in meanings), default=0.0)


def _near(words: tuple[str, ...], meaning: tuple[str, ...]) -> float:
    if words == meaning or "".join(words) == "".join(meaning):
        return _SAME
    common = set(words) & set(meaning)
    if common == set(meaning) and len(words) <= 2 * len(meaning):
        return _WITHIN
    return _PARTLY if common and 2 * len(common) >= len(meaning) else 0.0


def is_called(name: str, meanings: Iterable[str]) -> bool:
    """Return whether a column's name is one of the meanings in any spelling."""
    return nearness(name, meanings) == _SAME


def names_title(name: str, title: str) -> bool:
    """Return whether a column's name contains a word of a milestone's title, or its stem."""
    long = [word for word in words_of(title) if len(word) >= _STEM]
    return any(
        word[:_STEM] == other[:_STEM] for word in words_of(name) for other in long if len(word) >= _STEM
    )
