"""The doctor's look at Salesforce: the login, the objects, and what our user may write of them."""

from __future__ import annotations

from enerflo_sync.cli.check import Check
from enerflo_sync.copies.salesforce.api import SalesforceObjectApi
from enerflo_sync.copies.salesforce.check import object_notices
from enerflo_sync.counted import count_of
from enerflo_sync.crm.doctor import Finding, finding
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext


def goes_to_salesforce(context: AccountContext) -> bool:
    """Return whether changes of any table of the account go straight to Salesforce."""
    tables = context.config.tables_for(context.account)
    return any(table.to_salesforce is not None for table in tables.values())


def salesforce_check(context: AccountContext) -> Check:
    """Check login, objects, fields and rights; nothing is written."""
    config, account, findings, objects = context.config, context.account, list[Finding](), set[str]()
    try:
        for name, mapping in config.tables_for(account).items():
            to = mapping.to_salesforce
            if to is None:
                continue
            spot = config.table_spot(account, name, "salesforce", "object")
            where = f"{spot}: tables.{name}.salesforce.object"
            info = SalesforceObjectApi(context.salesforce, to.object).describe(where)
            notices = object_notices(mapping, config.mode_of(account, name), info)
            findings += [finding(config, account, name, one, context.config_path) for one in notices]
            objects.add(to.object)
        usage = context.salesforce.usage
    except EnerfloSyncError as error:
        return Check("Salesforce", str(error), failed=True)
    used = f"; {usage[0]:,} of {count_of(usage[1], 'request')} of the day used" if usage is not None else ""
    return Check("Salesforce", f"accepts the login; {', '.join(sorted(objects))}{used}", findings=findings)
