"""Whose records an answer holds: a key that answers for another company is refused before anything is stored.

Enerflo numbers the records of all its companies together, so one known id shows that an answer is ours. Where
an answer names no known install, its ``company_id`` decides, and the companies that an account's key was seen
to answer for are remembered (``sync.companies_seen``); a super-company's key sees several (REFERENCE.md §1).
Where that says nothing either, known installs are asked for directly: one that answers is proof, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.installs import read_install
from enerflo_sync.errors import (
    BadRecordError,
    ConfigurationError,
    ContractDriftError,
    FatalError,
    NotFoundError,
)
from enerflo_sync.resources.installs import INSTALL_LIST, INSTALLS
from enerflo_sync.warehouse.schema import companies_seen, installs

log = logging.getLogger(__name__)

# Known installs that are asked for directly where the list names none of them.
_ASKED_DIRECTLY = 3
# Newest installs that are listed where nothing else of this run has shown whose key it is.
_LISTED = 25

Record = bytes | memoryview


class AnotherCompanyError(ConfigurationError):
    """The key answers for a company that this account is not of: nothing of its answers was used."""


class _Company(msgspec.Struct):
    id: Any = None


class _Ours(msgspec.Struct):
    company_id: Any = None
    sales_company_id: Any = None
    company: Any = None


_decoder = msgspec.json.Decoder(_Ours)


def company_of(raw: Record) -> int | None:
    """Return the company that an install's record names; None where it names none that can be read."""
    try:
        said = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    nested = said.company.get("id") if isinstance(said.company, dict) else None
    for value in (said.company_id, said.sales_company_id, nested):
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            value = int(value)
        if type(value) is int and 0 < value < 2**63:
            return value
    return None


class CompanyGuard:
    """Tells whether answers are of the account's own company, for one run.

    It reads the warehouse on connections of its own, and only where the first record of an answer names no
    company that is known.

    :param accept: whether a person said that the account has another company now: what is read is believed,
        and remembered in place of what was known.
    """

    def __init__(
        self, client: EnerfloClient, engine: sa.Engine, account: str, *, accept: bool = False
    ) -> None:
        self._client = client
        self._engine = engine
        self._account = account
        self._accept = accept
        self._companies: set[int] | None = None
        self._is_shown = False

    def check(self, records: Sequence[Record]) -> None:
        """Return where installs are of the account's company, as far as that can be known.

        :raises AnotherCompanyError: they are of another one.
        """
        if not records:
            return
        known = self._known()
        first = company_of(records[0])
        if first is not None and first in known:
            self._is_shown = True
            return
        found = {company for raw in records if (company := company_of(raw)) is not None}
        if self._accept or found & known or self._is_ours(records, known):
            self._remember(found - known)
            self._is_shown = True
            return
        named = f" (company {', '.join(map(str, sorted(found)[:3]))})" if found else ""
        raise AnotherCompanyError(
            f"the API key answers for another company{named}: it knows none of the account's installs.",
            where=f"account {self._account}",
            next_step="Nothing was stored or deleted. Put the key of the account's own company back; if the"
            " account really has another company now, run enerflo-sync poll --accept-company once.",
        )

    def ensure(self) -> None:
        """Return once an answer of this run has shown whose key it is; asks for a list where none has.

        Nothing can be said where the list is empty, is not given to this key, or has another form.

        :raises AnotherCompanyError: it is another company's.
        :raises RetriableError: Enerflo does not answer just now.
        """
        if self._is_shown:
            return
        try:
            listing = INSTALL_LIST.page(self._client, 1, _LISTED)
        except AuthenticationError:
            raise
        except (FatalError, ContractDriftError) as error:
            log.info("company_not_shown account=%s error=%s", self._account, type(error).__name__)
        else:
            self.check(listing.records)
        self._is_shown = True

    def _is_ours(self, records: Sequence[Record], known: set[int]) -> bool:
        ids = list(_ids(records))
        mine = sa.select(installs.c.install_id).where(installs.c.account == self._account)
        living = mine.where(installs.c.deleted_at.is_(None))
        with self._engine.connect() as connection:
            if not known and connection.scalar(mine.limit(1)) is None:
                return True
            if connection.scalar(living.where(installs.c.install_id.in_(ids)).limit(1)) is not None:
                return True
            newest = living.order_by(installs.c.install_id.desc()).limit(_ASKED_DIRECTLY)
            some = list(connection.scalars(newest))
        return any(self._answers(install_id) for install_id in some)

    def _answers(self, install_id: int) -> bool:
        try:
            read_install(self._client, install_id)
        except AuthenticationError:
            raise
        except NotFoundError:
            return False
        except (BadRecordError, FatalError, ContractDriftError) as error:
            log.info("company_not_shown install=%s error=%s", install_id, type(error).__name__)
            return False
        return True

    def _known(self) -> set[int]:
        if self._companies is None:
            mine = sa.select(companies_seen.c.company_id).where(companies_seen.c.account == self._account)
            with self._engine.connect() as connection:
                self._companies = set(connection.scalars(mine))
                mirrored = (
                    sa.select(installs.c.company_id)
                    .where(installs.c.account == self._account, installs.c.company_id > 0)
                    .distinct()
                )
                # A mirror from before companies were remembered says them by its installs.
                before = set() if self._companies else set(connection.scalars(mirrored))
            self._remember(before)
        return self._companies

    def _remember(self, companies: set[int]) -> None:
        assert self._companies is not None  # noqa: S101 - _known came first
        replaced = self._accept and companies and not companies & self._companies and not self._is_shown
        if not companies:
            return
        rows = [{"account": self._account, "company_id": one} for one in sorted(companies)]
        with self._engine.begin() as connection:
            if replaced:
                connection.execute(sa.delete(companies_seen).where(companies_seen.c.account == self._account))
                self._companies.clear()
            connection.execute(insert(companies_seen).values(rows).on_conflict_do_nothing())
        self._companies |= companies


def _ids(records: Iterable[Record]) -> Iterable[int]:
    for raw in records:
        try:
            yield INSTALLS.record_id(raw)
        except BadRecordError:
            continue
