"""Why a change is not made at Salesforce, in sentences that plans and the ledger keep."""

from __future__ import annotations

from typing import Final

from enerflo_sync.copies.salesforce.session import Answer

MOVED: Final = "Salesforce's record says something else than when the plan was made"
OTHER_RECORD: Final = "Salesforce's record names another record of Enerflo by now, or does not count any more"
NO_ID: Final = "the copy's row has no id of Salesforce: 15 or 18 letters and digits are expected"
NO_RECORD: Final = "Salesforce has no such record any more, or our user may not see it"
RESTLESS: Final = "Salesforce's record was modified or locked at each attempt, so nothing was written"
IN_DOUBT: Final = (
    "the answer to a request with the change was lost, and the record was modified since: look at it there,"
    " since nobody can tell whether the change was made and taken back"
)
UNREADABLE: Final = (
    "a value of Salesforce's record, or of the change, does not fit the type of the copy's column"
)
EXISTS: Final = "Salesforce has a record of this external id by now, and it says something else"
OTHER_SPELLING: Final = (
    "a record of Salesforce names it in another spelling of the external id, or too many may"
)
NOT_DELETED: Final = (
    "records of Salesforce are deleted only with salesforce: {delete: true} and a column of IsDeleted in"
    " deleted_when: delete it there"
)
NO_TIME: Final = (
    "the copy has no column of LastModifiedDate, so nobody can tell whether fields that are not mapped"
    " changed since: delete it there"
)
UNTOLD: Final = (
    "where names a column that is no field of the object, and the copy has no column of LastModifiedDate, so"
    " nobody can tell whether the record still counts: change it there"
)
NO_EXTERNAL_ID: Final = (
    "a record is only made by an external id that is unique, so that a lost answer makes no second one:"
)


def refused(answer: Answer) -> str:
    """Return the reason of a refusal: Salesforce's codes and the fields that they name, and never a value."""
    said = "; ".join(str(one) for one in answer.refusals) or f"HTTP {answer.status}"
    return f"Salesforce refuses the record ({said})"
