"""Search for a record: by id, deal, name or e-mail in the mirror, and by key in the CRM's tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from enerflo_sync.addresses import Addresses
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind, TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.pages.records import enerflo_address
from enerflo_sync.pages.search_crm import CrmHit, Searched, search_crm
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.wording import visible
from enerflo_sync.warehouse.schema.words import CUSTOMER_WORDS, EMAIL, INSTALL_WORDS, PARTING

# How many results of one kind are shown; the page says if there are more.
MOST: Final = 20
LONGEST: Final = 200
# A shorter beginning of a name matches too many records.
SHORTEST_WORD: Final = 2
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Question:
    """The typed text as the searches use it.

    :param ids: integers, as in ``123`` or ``123/45``; empty if the text is something else.
    :param words: words of a name, none of them shorter than two characters.
    """

    text: str
    ids: tuple[int, ...] = ()
    email: str | None = None
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Question:
        """Return the question in a text.

        :raises ConfigurationError: the text is longer than a search accepts.
        """
        found = text.replace("\0", "").strip()
        if len(found) > LONGEST:
            raise ConfigurationError(
                f"the search has {len(found):,} characters.",
                where="the address",
                next_step=f"Shorten it to {LONGEST}.",
            )
        if re.fullmatch(r"[0-9]{1,19}(/[0-9]{1,19})?", found, re.ASCII):
            ids = tuple(map(int, found.split("/")))
            return cls(found, ids if max(ids) <= _LARGEST else ())
        if "@" in found and " " not in found:
            return cls(found, email=found.lower())
        parted = found.translate(str.maketrans(PARTING, " " * len(PARTING)))
        return cls(found, words=tuple(w for w in parted.split() if len(w) >= SHORTEST_WORD)[:8])


@dataclass(frozen=True)
class Hit:
    """One record that was found.

    :param kind: its kind: a name of :data:`MIRROR_TABLES`.
    :param by: the property by which it was found.
    :param exact: the text is the whole value, not only its beginning.
    :param words: what distinguishes it from other records, masked.
    :param address: its page; None if no table of its kind is mapped.
    :param ids: its ids at Enerflo; None if only the CRM has it.
    """

    kind: str
    name: str
    by: str
    exact: bool
    words: str = ""
    address: str | None = None
    at: datetime | None = None
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Found:
    """The results of a search.

    :param more: the kinds with more results than are shown.
    :param searched: the searched columns of the CRM's tables, and the tables without an index for the search.
    """

    question: Question
    hits: Sequence[Hit]
    more: Sequence[str]
    searched: Searched

    @property
    def only(self) -> Hit | None:
        """Return the only record that was named exactly; None if there are several, or none."""
        exact = [hit for hit in self.hits if hit.exact]
        return exact[0] if len(exact) == 1 and exact[0].address is not None else None


_INSTALL = "install_id, customer_name, status_name, deal_id, created_at, deleted_at"
_CUSTOMER = "customer_id, first_name, last_name, email, created_at, deleted_at"

_INSTALLS_BY = {"id": "install_id = :id", "deal": "deal_id in (:text, :lower)"}
_CUSTOMERS_BY = {
    "id": "customer_id = :id",
    # The bounds let PostgreSQL use the index with any pattern.
    "e-mail": f"{EMAIL} ~>=~ :first and {EMAIL} ~<~ :beyond and {EMAIL} like :beginning",
}
_WORDS = {"installs": INSTALL_WORDS, "customers": CUSTOMER_WORDS}

_OTHERS = sa.text("""
/* enerflo-sync pages: search records by id */
select 'notes' as kind, note_id as id, install_id, created_at as at, deleted_at from enerflo.notes
where account = :account and note_id = :id
union all
select 'change_orders', change_order_id, install_id, signed_at, deleted_at from enerflo.change_orders
where account = :account and change_order_id = :id
union all
select 'appointments', appointment_id, null, starts_at, deleted_at from enerflo.appointments
where account = :account and appointment_id = :id
""")

_MILESTONE = sa.text("""
/* enerflo-sync pages: search a milestone by its install and its own id */
select install_id, milestone_id, title, completed_at as at, deleted_at from enerflo.milestones
where account = :account and install_id = :id and milestone_id = :second
""")

_OF_CUSTOMERS = sa.text("""
/* enerflo-sync pages: search the installs of customers that were found */
select install_id, customer_name, status_name, deal_id, created_at, deleted_at
from enerflo.installs where account = :account and customer_id = any(:customers)
order by created_at desc nulls last, install_id desc limit :most
""").bindparams(sa.bindparam("customers", type_=sa.ARRAY(sa.BigInteger)))


def _statement(table: str, columns: str, condition: str) -> sa.TextClause:
    return sa.text(
        f"/* enerflo-sync pages: search {table} */ select {columns} from enerflo.{table}"  # noqa: S608
        f" where account = :account and {condition} limit :most"
    )


def _find(table: str, columns: str, by: str, conditions: Mapping[str, str]) -> sa.TextClause:
    return _by_name(table, columns) if by == "name" else _statement(table, columns, conditions[by])


def _by_name(table: str, columns: str) -> sa.TextClause:
    # Materialized, because the planner overestimates how frequent a beginning is, and would read the table to
    # find its first rows. Each word contains the account.
    words = _WORDS[table].replace(";:", ";\\:")
    return sa.text(
        f"/* enerflo-sync pages: search {table} by name */"  # noqa: S608
        f" with named as materialized"
        f" (select * from enerflo.{table} where {words} @@ cast(:words as tsquery))"
        f" select {columns} from named where account = :account limit :most"
    )


def search(connection: sa.Connection, config: SyncConfig, account: str, text: str, to: Addresses) -> Found:
    """Return the records that a text names, masked: those that it names exactly first.

    Of each kind at most 20. Numbers are looked up as ids, a text with ``@`` as the beginning of an e-mail
    address, anything else as a deal and as the beginnings of a name's words; and each as a key of the CRM.

    :raises ConfigurationError: the text is too long.
    """
    question = Question.of(text)
    finder = _Finder(connection, config.tables_for(account), account, question, to)
    crm, searched = search_crm(connection, config.tables_for(account), question.text)
    hits = [*finder.of_mirror(), *finder.of_crm(crm)] if question.text else []
    merged: dict[Any, Hit] = {}
    for hit in sorted(hits, key=lambda hit: not hit.exact):
        merged.setdefault((hit.kind, hit.ids or hit.address), hit)
    shown, more = _bounded(list(merged.values()))
    return Found(question, shown, more, searched)


def _bounded(hits: Sequence[Hit]) -> tuple[list[Hit], list[str]]:
    counts: dict[str, int] = {}
    shown = []
    for hit in hits:
        counts[hit.kind] = counts.get(hit.kind, 0) + 1
        if counts[hit.kind] <= MOST:
            shown.append(hit)
    return shown, [kind for kind, count in counts.items() if count > MOST]


@dataclass(frozen=True)
class _Finder:
    connection: sa.Connection
    tables: Mapping[str, TableMapping]
    account: str
    question: Question
    to: Addresses

    def of_mirror(self) -> Iterator[Hit]:
        """Yield the matches in the mirror."""
        asked = self.question
        if asked.ids:
            yield from self._by_ids(*asked.ids)
        elif asked.email is not None:
            yield from self._by_email()
        elif asked.text:
            yield from self._installs("deal", exact=True)
            if asked.words:
                yield from self._installs("name", exact=False)
                yield from self._customers("name")

    def _by_ids(self, first: int, second: int | None = None) -> Iterator[Hit]:
        if second is not None:
            row = self._rows(_MILESTONE, id=first, second=second)
            for one in row:
                address = self._address(RecordKind.MILESTONES, one.install_id, one.milestone_id)
                title = visible(one.title or "")
                ids = (first, second)
                yield Hit("milestones", f"{first}/{second}", "id", True, title, address, one.at, ids)
            return
        yield from self._installs("id", exact=True)
        yield from self._customers("id")
        for one in self._rows(_OTHERS, id=first):
            told = ("" if one.install_id is None else f"of install {one.install_id}", _gone(one))
            words = " · ".join(word for word in told if word)
            address = self._address(one.kind, one.id)
            yield Hit(one.kind, str(one.id), "id", True, words, address, one.at, (one.id,))

    def _by_email(self) -> Iterator[Hit]:
        customers = list(self._customer_rows("e-mail"))
        yield from map(self._customer, customers, ["e-mail"] * len(customers))
        ids = [row.customer_id for row in customers[:MOST]]
        for row in self._rows(_OF_CUSTOMERS, customers=ids) if ids else ():
            yield self._install(row, "customer's e-mail", exact=False)

    def _installs(self, by: str, *, exact: bool) -> Iterator[Hit]:
        for row in self._rows(_find("installs", _INSTALL, by, _INSTALLS_BY)):
            yield self._install(row, by, exact=exact)

    def _install(self, row: Any, by: str, *, exact: bool) -> Hit:
        words = [mask(row.customer_name, PersonalData.NAME), row.status_name]
        words += [f"deal {row.deal_id}" if row.deal_id else None, _gone(row)]
        told = " · ".join(visible(word) for word in words if word)
        address = self._address(RecordKind.INSTALLS, row.install_id)
        return Hit(
            "installs", str(row.install_id), by, exact, told, address, row.created_at, (row.install_id,)
        )

    def _customers(self, by: str) -> Iterator[Hit]:
        for row in self._customer_rows(by):
            yield self._customer(row, by)

    def _customer_rows(self, by: str) -> Sequence[Any]:
        return self._rows(_find("customers", _CUSTOMER, by, _CUSTOMERS_BY))

    def _customer(self, row: Any, by: str) -> Hit:
        name = mask(f"{row.first_name or ''} {row.last_name or ''}".strip(), PersonalData.NAME)
        words = [name, mask(row.email, PersonalData.EMAIL), _gone(row)]
        told = " · ".join(visible(word) for word in words if word)
        exact = by == "id" or (by == "e-mail" and (row.email or "").lower() == self.question.email)
        address = self._address(RecordKind.LEADS, row.customer_id)
        ids = (row.customer_id,)
        return Hit("leads", str(row.customer_id), by, exact, told, address, row.created_at, ids)

    def of_crm(self, found: Sequence[CrmHit]) -> Iterator[Hit]:
        """Yield the matches in the CRM's tables, under Enerflo's id if the row names one."""
        for one in found:
            # If Enerflo lacks the record that a row names, its page is found by the CRM's key.
            address = self.to.record(self.account, one.table, one.key)
            by = f"{one.crm_table}.{one.column}"
            yield Hit(one.kind, visible(one.key), by, True, "", address, None, one.enerflo_ids)

    def _rows(self, statement: sa.TextClause, **values: Any) -> Sequence[Any]:
        asked = self.question
        given = {
            "account": self.account,
            "most": MOST + 1,
            "id": asked.ids[0] if asked.ids else None,
            "text": asked.text,
            "lower": asked.text.lower(),
            "words": words_query(self.account, asked.words),
            **_beginning(asked.email or ""),
            **values,
        }
        wanted = {name: given[name] for name in statement._bindparams if name in given}
        return self.connection.execute(statement, wanted).all()

    def _address(self, kind: str, *ids: int) -> str | None:
        return enerflo_address(self.to, self.account, self.tables, kind, *ids)


def words_query(account: str, words: Sequence[str]) -> str:
    """Return the text search for rows of an account with words that begin with these.

    A database without case rules beyond ASCII stores such letters as written, so both cases are searched.
    """
    parts = []
    for word in words:
        lower = word.lower()
        upper = "".join(one if one.isascii() else one.upper() for one in lower)
        spelled = dict.fromkeys((lower, upper))
        parts.append(f"({' | '.join(_lexeme(f'{account}|{one}') for one in spelled)})")
    return " & ".join(parts)


def _lexeme(text: str) -> str:
    body = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{body}':*"


def _beginning(text: str) -> dict[str, str]:
    """Return the pattern of texts with a beginning, and the bounds that contain them."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    # The letter after a letter beyond ASCII may be one that the database cannot represent.
    first = re.sub(r"[^\x20-\x7d]+$", "", text) or "@"
    return {"beginning": f"{escaped}%", "first": first, "beyond": first[:-1] + chr(ord(first[-1]) + 1)}


def _gone(row: Any) -> str | None:
    return None if row.deleted_at is None else "deleted at Enerflo"


def render_search(found: Found | None, account: str, frame: Frame) -> str:
    """Return the page of results; without any the page to search from."""
    kinds: dict[str, list[Hit]] = {}
    for hit in found.hits if found else ():
        kinds.setdefault(hit.kind, []).append(hit)
    return render_page(
        "search.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        account=account,
        found=found,
        kinds=kinds,
        most=MOST,
        here=frame.to.search(account),
    )
