"""Verify whose records an answer contains: refuse a key of another company before anything is stored.

Enerflo numbers the records of all companies together, so one known id shows that an answer belongs to this
account. If an answer contains no known install, its ``company_id`` decides: ``sync.companies_seen`` stores
the companies that the account's key has returned so far; a super-company's key returns several (REFERENCE.md
§1). If that is not enough either, the guard requests known installs directly: a success is proof, too.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.enerflo.failures import AuthenticationError, DeletedRecordError
from enerflo_sync.enerflo.installs import read_install
from enerflo_sync.errors import (
    BadRecordError,
    ConfigurationError,
    ContractDriftError,
    FatalError,
    NotFoundError,
    RetriableError,
)
from enerflo_sync.mirror.former_name import forget_the_same, former_names, some_are_not_configured
from enerflo_sync.resources.installs import INSTALL_LIST, INSTALLS
from enerflo_sync.warehouse.schema import companies_seen, installs

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

# Known installs to request directly if the list contains none of them.
_ASKED_DIRECTLY = 3
# Newest installs to list if nothing else in this run has shown whose key it is.
_LISTED = 25

Record = bytes | memoryview


class AnotherCompanyError(ConfigurationError):
    """The key belongs to another company than the account; none of its answers was used."""


class RenamedAccountError(AnotherCompanyError):
    """Another account, which is not configured any more, had the key's company; no answer was used."""


class _Company(msgspec.Struct):
    id: Any = None


class _Ours(msgspec.Struct):
    company_id: Any = None
    sales_company_id: Any = None
    company: Any = None


_decoder = msgspec.json.Decoder(_Ours)


def company_of(raw: Record) -> int | None:
    """Return the company id in an install's record; None if it has no readable one."""
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
    """Decides for one run whether answers belong to the account's own company.

    Reads the warehouse on its own connections, and only if the first record of an answer names no known
    company.

    :param accept: a person confirmed that the account has another company now: believe the answers, and
        remember their company in place of the old one.
    :param configured: the names of all accounts of ``sync.yaml``: a new account is refused whose company one
        had that is not among them. None: of no account a former name is looked for.
    """

    def __init__(
        self,
        client: EnerfloClient,
        engine: sa.Engine,
        account: str,
        *,
        accept: bool = False,
        configured: Collection[str] | None = None,
    ) -> None:
        self._client = client
        self._engine = engine
        self._account = account
        self._accept = accept
        self._configured = configured
        self._companies: set[int] | None = None
        self._is_shown = False

    def check(self, records: Sequence[Record]) -> None:
        """Return if the installs belong to the account's company, as far as that can be known.

        :raises AnotherCompanyError: they belong to another company.
        :raises RenamedAccountError: they belong to the company of an account that is not configured any more.
        """
        if not records:
            return
        known = self._known()
        first = company_of(records[0])
        if first is not None and first in known:
            self._is_shown = True
            return
        found = {company for raw in records if (company := company_of(raw)) is not None}
        if new := self._is_new(known):
            self._require_no_former_name(records, found)
        if new or self._accept or found & known or self._is_ours(records):
            self._remember(found - known)
            self._is_shown = True
            return
        raise self._of_another(f" (company {', '.join(map(str, sorted(found)[:3]))})" if found else "")

    def _of_another(self, named: str) -> AnotherCompanyError:
        return AnotherCompanyError(
            f"the API key answers for another company{named}: it knows none of the account's installs.",
            where=f"account {self._account}",
            next_step="Nothing was stored or deleted. Put the key of the account's own company back; if the"
            " account really has another company now, or all its installs were deleted, run enerflo-sync poll"
            " --accept-company once.",
        )

    def ensure_no_former_name(self) -> None:
        """Return if the account is not one that had another name before, whether a record is read or not.

        Requests a list only if nothing is stored of the account, and the warehouse has another that is not
        configured any more.

        :raises RenamedAccountError: that one had the key's company.
        :raises RetriableError: Enerflo does not answer at the moment.
        """
        if self._may_be_renamed():
            self.ensure()

    def ensure(self) -> None:
        """Return once an answer of this run has shown whose key it is; request a list if none has.

        Proves nothing if the list is not permitted for this key, or has another form. If it is empty, and the
        newest installs that are known do not exist for the key, this is the key of another company.

        :raises AnotherCompanyError: the key belongs to another company.
        :raises RetriableError: Enerflo does not answer at the moment; or its list of a new account lacks all
            its rows, which would show whether that is another one that is not configured any more.
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
            if not listing.records and listing.total != 0 and self._may_be_renamed():
                raise RetriableError(
                    "Enerflo's list of installs came without the installs that it counts, so it does not show"
                    " whether this is an account that sync.yaml does not name any more.",
                    where=f"account {self._account}",
                    next_step="Nothing was stored. Run it again later.",
                )
            if not listing.records and not self._accept and self._has_none_of_ours():
                raise self._of_another(" that has no install")
        self._is_shown = True

    def _is_ours(self, records: Sequence[Record]) -> bool:
        ids = list(_ids(records))
        with self._engine.connect() as connection:
            if connection.scalar(self._living().where(installs.c.install_id.in_(ids)).limit(1)) is not None:
                return True
        return any(self._answers(install_id) for install_id in self._newest())

    def _has_none_of_ours(self) -> bool:
        """Return whether the key knows none of the newest installs; False if none is known to us either."""
        answers = [self._answers(install_id) for install_id in self._newest()]
        return bool(answers) and all(answer is False for answer in answers)

    def _may_be_renamed(self) -> bool:
        """Return whether nothing is stored of the account, but something of one that is not configured."""
        if self._configured is None or self._accept or not self._is_new(self._known()):
            return False
        with self._engine.connect() as connection:
            return some_are_not_configured(connection, self._configured)

    def _newest(self) -> Sequence[int]:
        newest = self._living().order_by(installs.c.install_id.desc()).limit(_ASKED_DIRECTLY)
        with self._engine.connect() as connection:
            return list(connection.scalars(newest))

    def _living(self) -> sa.Select[tuple[int]]:
        mine = sa.select(installs.c.install_id).where(installs.c.account == self._account)
        return mine.where(installs.c.deleted_at.is_(None))

    def _is_new(self, known: set[int]) -> bool:
        """Return whether nothing is stored of the account's company."""
        if known:
            return False
        mine = sa.select(installs.c.install_id).where(installs.c.account == self._account)
        with self._engine.connect() as connection:
            return connection.scalar(mine.limit(1)) is None

    def _require_no_former_name(self, records: Sequence[Record], found: set[int]) -> None:
        if self._configured is None:
            return
        with self._engine.begin() as connection:
            former = former_names(connection, self._configured, found, list(_ids(records)))
            if former and self._accept:
                forget_the_same(connection, self._account, former)
        if former and not self._accept:
            raise RenamedAccountError(
                f"its company is that of {', '.join(former)}, which sync.yaml does not name any more. What"
                " was agreed on, refused and sent under that name does not count for this one.",
                where=f"account {self._account}",
                next_step=f"Nothing was stored. Name the account {former[0]} again in sync.yaml; if it is"
                " another one indeed, run enerflo-sync poll --accept-company once.",
            )

    def _answers(self, install_id: int) -> bool | None:
        """Return whether the key knows an install; None if that cannot be told."""
        try:
            read_install(self._client, install_id)
        except AuthenticationError:
            raise
        except DeletedRecordError:
            return True
        except NotFoundError:
            return False
        except (BadRecordError, FatalError, ContractDriftError) as error:
            log.info("company_not_shown install=%s error=%s", install_id, type(error).__name__)
            return None
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
                # A mirror that predates ``sync.companies_seen`` names its companies in its installs.
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
