"""Erases the personal data of one customer in the warehouse, and keeps a receipt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.seals import note_rewritten
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.forgotten_files import Theirs
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.resources.event import Body
from enerflo_sync.retention.forget_documents import (
    Values,
    documents_of,
    erase_documents,
    is_of_another,
    values_of,
)
from enerflo_sync.retention.forget_former import (
    FormerVersion,
    erase_former_rows,
    erase_of_others,
    former_rows,
    former_versions,
    texts_of_nobody_else,
)
from enerflo_sync.retention.forget_rows import (
    CustomerRows,
    erase_mirror,
    erase_rows,
    open_writes,
    rows_of_customer,
    stored_values,
    under_names,
)

_KNOWN = sa.text("""
/* enerflo-sync forget: whether a customer is known, and by which ids */
select exists (select from enerflo.customers where account = :account and customer_id = :customer)
    or exists (select from enerflo.installs where account = :account and customer_id = :customer)
    or exists (select from sync.forgotten where account = :account and customer_id = :customer)
    or exists (select from sync.webhook_events where account = :account and install_id is null
      and record = 'customers/' || :customer) as known,
  coalesce((select array_agg(install_id order by install_id) from enerflo.installs
    where account = :account and customer_id = :customer), '{}') as installs,
  coalesce((select array_agg(distinct d.deal_id) from (
      select deal_id from enerflo.installs where account = :account and customer_id = :customer
      union select s.deal_id from enerflo.submissions s join enerflo.installs i using (account, install_id)
      where s.account = :account and i.customer_id = :customer) d
    where d.deal_id is not null), '{}') as uuids,
  (select install_ids from sync.forgotten where account = :account and customer_id = :customer) as before,
  (select uuids from sync.forgotten where account = :account and customer_id = :customer) as uuids_before
""").bindparams(sa.bindparam("customer", type_=sa.BigInteger))
_RECEIPT = sa.text("""
/* enerflo-sync forget: the receipt */
insert into sync.forgotten as f
  (account, customer_id, forgotten_at, forgotten_by, run_id, install_ids, uuids, counts)
values (:account, :customer, :at, :by, :run_id, :installs, :uuids, cast(:counts as jsonb))
on conflict (account, customer_id) do update
set install_ids = excluded.install_ids, uuids = excluded.uuids, run_id = excluded.run_id,
    counts = (select coalesce(jsonb_object_agg(k.key, coalesce((f.counts ->> k.key)::bigint, 0)
        + coalesce((excluded.counts ->> k.key)::bigint, 0)), '{}')
      from (select jsonb_object_keys(f.counts || excluded.counts) as key) k)
""")

# A decision about a plan locks the plan's row, and copies values of its changes into the ledger and the
# refusals. While these rows are locked, it has ended before the values are erased, or reads them erased.
_HOLD_PLANS = sa.text("""
/* enerflo-sync forget: plans about which a person may decide */
select from sync.plans where account = :account and state in ('open', 'approved', 'rejected')
order by plan_hash for update
""")


class ForgetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased of a customer, or would be erased.

    :param counts: the number of rows by table; ``archive`` counts files.
    :param shared: masked e-mail addresses and phone numbers that other customers of the account have too. A
        document that only such a value links to the customer is not erased.
    :param run_id: the run in ``sync.runs``; None if nothing was erased.
    :param not_read: archives of the account from before, which could not be read or written.
    :param not_there: archives from before in which there is no file any more.
    """

    account: str
    customer_id: int
    run_id: str | None
    forgotten_at: datetime
    forgotten_by: str
    installs: Sequence[int]
    counts: dict[str, int]
    shared: Sequence[str] = ()
    not_read: Sequence[str] = ()
    not_there: Sequence[str] = ()

    @property
    def erased(self) -> bool:
        """Return whether the data was erased, not only counted."""
        return self.run_id is not None


class CustomerErasure:
    """A running erasure of one customer's data."""

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        customer_id: int,
        by: str,
        run: Run,
        *,
        write: bool,
    ) -> None:
        self._connection = connection
        self._account = account
        self._customer = customer_id
        self._by = by
        self._run = run
        self._write = write
        self._who = self._together = Forgotten(frozenset({customer_id}))
        self._values = Values(frozenset(), frozenset())
        self._rows: list[CustomerRows] = []
        self._former: list[FormerVersion] = []
        self._former_rows: list[CustomerRows] = []
        self._counts: dict[str, int] = {}

    @property
    def customer_id(self) -> int:
        """Return the customer's number at Enerflo."""
        return self._customer

    @property
    def who(self) -> Forgotten:
        """Return the ids of the customer and of the customer's records."""
        return self._who

    def require_no_open_writes(self, comparisons: Sequence[Comparison], unmapped: Sequence[str]) -> None:
        """Find the customer's records, and require that no change of them is planned or on its way.

        Runs in the caller's transaction.

        :param comparisons: those of all mapped tables.
        :param unmapped: :func:`unmapped_tables`.
        :raises ConfigurationError: the customer is not known, or there is such a change.
        """
        named = {"account": self._account, "customer": self._customer}
        row = self._connection.execute(_KNOWN, named).mappings().one()
        if not row["known"]:
            raise ConfigurationError(
                f"there is no customer {self._customer}.",
                where=f"enerflo.customers, account {self._account}",
                next_step="Give the customer's number at Enerflo; enerflo-sync explain lead KEY shows it.",
            )
        installs = frozenset(row["installs"]) | frozenset(row["before"] or ())
        uuids = frozenset(row["uuids"]) | frozenset(row["uuids_before"] or ())
        self._who = Forgotten(frozenset({self._customer}), installs, uuids)
        found = [
            rows_of_customer(self._connection, self._account, comparison, self._who, unmapped)
            for comparison in comparisons
        ]
        self._rows = under_names([rows for rows in found if rows is not None], unmapped)
        self._former = former_versions(self._connection, self._account, self._who)
        former = [
            former_rows(self._connection, self._account, comparison, self._former, unmapped)
            for comparison in comparisons
        ]
        self._former_rows = under_names([rows for rows in former if rows is not None], unmapped)
        for rows in (*self._rows, *self._former_rows):
            for one in open_writes(self._connection, self._account, rows):
                raise self._refusal(rows.table, one)

    def find_values(self, together: Forgotten) -> None:
        """Find the texts by which the customer's documents are known, in the caller's transaction.

        :param together: all customers who are being forgotten: what only they share is no other customer's.
        """
        self._together = together
        told = [one for rows in self._rows for one in stored_values(self._connection, self._account, rows)]
        self._values = values_of(self._connection, self._account, self._who, told, self._former, together)
        documents = documents_of(self._connection, self._account, self._who, self._values)
        self._who = replace(self._who, uuids=self._who.uuids | documents.uuids)

    def theirs(self, ignored: Collection[str]) -> Theirs:
        """Return the signs by which a part of an archived file is the customer's.

        :param ignored: names of events that the account ignores.
        """
        texts = [value.encode() for value in sorted(self._values.reached_at)]
        return Theirs(self._who, ignored, texts, self._is_of_another)

    def count_files(self, hits: int) -> None:
        """Add the number of archived files with data of the customer to the counts, and to the receipt."""
        self._count(("archive", hits))
        if hits and self._write:
            with self._connection.begin():
                self.write_receipt({"archive": hits})

    def _refusal(self, table: str, one: sa.RowMapping) -> ConfigurationError:
        single = one["changes"] == 1
        if one["on_its_way"]:
            what = "on its way" if single else "on their way"
            next_step = "Let the plan end first: enerflo-sync apply, then plan, finish it."
        else:
            what, next_step = f"in a plan that is {one['plan_state']}", "Apply or reject the plan first."
        return ConfigurationError(
            f"{count_of(one['changes'], 'change')} of {table} of customer {self._customer}"
            f" {'is' if single else 'are'} {what}: plan {one['plan_hash'][:12]}.",
            where=f"sync.plan_changes, account {self._account}",
            next_step=f"{next_step} Nothing was erased.",
        )

    def erase_rows(self) -> None:
        """Erase the customer's data in the warehouse, in one transaction, because a customer has few rows."""
        connection, account = self._connection, self._account
        before = dict(self._counts)
        with connection.begin() as transaction:
            connection.execute(_HOLD_PLANS, {"account": account})
            documents = documents_of(connection, account, self._who, self._values)
            theirs = texts_of_nobody_else(connection, account, self._together, self._values.all)
            for rows in self._rows:
                self._count(*erase_rows(connection, account, rows))
                self._count(*erase_of_others(connection, account, rows, theirs))
            for rows in self._former_rows:
                self._count(*erase_former_rows(connection, account, rows, self._values.all))
            self._count(*erase_documents(connection, account, self._who, documents, self._former))
            self._count(*erase_mirror(connection, account, self._who))
            if self._write:
                note_rewritten(connection, account, f"enerflo-sync forget --customer {self._customer}")
                self.write_receipt({name: rows - before.get(name, 0) for name, rows in self._counts.items()})
            else:
                transaction.rollback()

    def _count(self, *found: tuple[str, int]) -> None:
        for name, rows in found:
            if rows:
                self._counts[name] = self._counts.get(name, 0) + rows

    def write_receipt(self, counts: dict[str, int]) -> None:
        """Write the receipt, or add counts to it, in the caller's transaction."""
        values = {
            "account": self._account,
            "customer": self._customer,
            "at": self._run.started_at,
            "by": self._by,
            "run_id": self._run.run_id,
            "installs": sorted(self._who.installs),
            "uuids": sorted(self._who.uuids),
            "counts": msgspec.json.encode(counts).decode(),
        }
        self._connection.execute(_RECEIPT, values)

    def _is_of_another(self, body: Body) -> bool:
        with self._connection.begin():
            return is_of_another(self._connection, self._account, self._who, body)

    def report(self, not_read: Sequence[str], not_there: Sequence[str]) -> ForgetReport:
        """Return the report of what was erased.

        :param not_read: archives from before, which could not be read or written.
        :param not_there: archives from before without any file.
        """
        if self._write:
            for name, rows in self._counts.items():
                self._run.count(name, Tally(read=rows, applied=rows))
        return ForgetReport(
            account=self._account,
            customer_id=self._customer,
            run_id=self._run.run_id if self._write else None,
            forgotten_at=self._run.started_at,
            forgotten_by=self._by,
            installs=sorted(self._who.installs),
            counts=dict(sorted(self._counts.items())),
            shared=sorted({_masked(value) for value in self._values.shared}),
            not_read=not_read,
            not_there=not_there,
        )


def _masked(value: str) -> str:
    return str(mask(value, PersonalData.EMAIL if "@" in value else PersonalData.PHONE))
