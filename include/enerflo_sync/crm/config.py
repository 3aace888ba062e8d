"""The configuration file as one typed object, and its loading."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field, PrivateAttr

from enerflo_sync.crm.approvals import ApprovalOptions
from enerflo_sync.crm.columns import Columns
from enerflo_sync.crm.elsewhere import CrmDatabase
from enerflo_sync.crm.mapping import Mode, TableMapping
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.overrides import TableOverride
from enerflo_sync.crm.problems import Problem, listed, nearest
from enerflo_sync.crm.reconcile_options import ReconcileOptions
from enerflo_sync.crm.retention import RetentionOptions
from enerflo_sync.crm.rhythm import Rhythm
from enerflo_sync.crm.routes import NotifyOptions
from enerflo_sync.crm.salesforce import SECRETS, SalesforceAccount
from enerflo_sync.crm.schedule import AirflowConnections, Schedule
from enerflo_sync.crm.webhook_options import WebhookOptions
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.registry import USUAL

_Lax = Field(strict=False)

TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_NAMED: Any = {"propertyNames": {"pattern": f"^{TABLE_NAME.pattern}$"}}

# Raised when a release compares differently, so that its first run compares everything again.
COMPARISON_VERSION = 2

# Options that may refer to a variable which is not set, as long as nothing asks for them.
LAZY_OPTIONS = re.compile(
    r"accounts\.[^.]+\.(base_url|api_key|warehouse_url|webhook_(drop|archive)_uri|crm\.url|salesforce\.("
    + "|".join(SECRETS)
    + "))"
)


class AccountConfig(Options):
    """One Enerflo API key with its warehouse. Secrets are text, or None while their variable is not set."""

    base_url: str | None = Field("https://enerflo.io", description="Address of the Enerflo REST API.")
    api_key: str | None = Field(None, description="The key, as a variable: ${ENERFLO_API_KEY}.")
    warehouse_url: str | None = Field(None, description="postgresql://user:password@host:5432/database")
    webhook_drop_uri: str | None = Field(
        None,
        description="Folder or bucket into which payloads are dropped: a path, file://, s3://, gs://, abfs://.",
    )
    webhook_archive_uri: str | None = Field(
        None, description="Where taken files are kept, by date; the folder archive beside the drop if unset."
    )
    airflow: AirflowConnections = Field(
        default_factory=lambda: AirflowConnections.model_validate({}), description="Airflow connection ids."
    )
    schedule: Schedule = Field(
        default_factory=lambda: Schedule.model_validate({}), description="When the jobs start."
    )
    rhythm: Rhythm = Field(
        default_factory=lambda: Rhythm.model_validate({}), description="How often changes start jobs."
    )
    crm: CrmDatabase | None = Field(
        None, description="The database of the CRM's tables; the warehouse itself where absent."
    )
    salesforce: SalesforceAccount = Field(
        default_factory=lambda: SalesforceAccount.model_validate({}),
        description="The company at Salesforce, for tables with write_to: salesforce.",
    )
    mode: Annotated[Mode, _Lax] = Field(
        Mode.REPORT, description="Which side may be written: report (none), crm, enerflo or both."
    )
    tables: dict[str, TableOverride] = Field(  # type: ignore[valid-type]
        default_factory=dict,
        description="What differs for this account from the tables below.",
        json_schema_extra=_NAMED,
    )

    _name: str = PrivateAttr("")
    _where: str = PrivateAttr("")
    _unset: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the account's name in the file."""
        return self._name

    def need(self, option: Literal["base_url", "api_key", "warehouse_url", "webhook_drop_uri"]) -> str:
        """Return the value of an option that the job at hand cannot do without.

        :raises ConfigurationError: it is absent or empty, or its environment variable is not set.
        """
        value: str | None = getattr(self, option)
        return value or self._missing(option)

    def need_crm_url(self) -> str:
        """Return the address of the CRM's own database.

        :raises ConfigurationError: it is absent or empty, or its environment variable is not set.
        """
        return (self.crm.url if self.crm is not None else None) or self._missing("crm.url")

    def need_salesforce(self, option: Literal["url", "client_id", "client_secret"]) -> str:
        """Return the value of an option of the section ``salesforce``.

        :raises ConfigurationError: it is absent or empty, or its environment variable is not set.
        """
        value: str | None = getattr(self.salesforce, option)
        return value or self._missing(f"salesforce.{option}")

    def _missing(self, option: str) -> NoReturn:
        variable = self._unset.get(option)
        raise ConfigurationError(
            f"the environment variable {variable} is not set." if variable else "it has no value.",
            where=f"{self._where}: accounts.{self._name}.{option}",
            next_step=f"Set {variable or option.upper().replace('.', '_')}, or give {option} a value there.",
        )


class PollOptions(Options):
    """How Enerflo is read."""

    lookback_minutes: int = Field(
        15, ge=0, le=1440, description="How far a poll goes back before its watermark."
    )
    per_page: int = Field(500, ge=1, le=5000, description="Installs asked for in one page at first.")
    min_per_page: int = Field(25, ge=1, le=5000, description="The smallest page after slow answers.")
    shrink_guard_percent: int = Field(
        20,
        ge=1,
        le=100,
        description="A sweep that returns this much fewer records stops and deletes nothing; events delete no"
        " more than this within a day.",
    )
    resources: tuple[Annotated[PollResource, _Lax], ...] = Field(
        tuple(PollResource(name) for name in USUAL), strict=False, description="What is read.", min_length=1
    )


class CompletedNeeds(StrEnum):
    """Which milestones of an install must be completed before it is set to Completed."""

    FINAL = "final"
    ALL = "all"


class StatusNames(Options):
    """Install statuses that have a meaning here, each by name or by its id at Enerflo."""

    completed: str | int = Field("Completed", description="Set when the last milestone is completed.")
    completed_needs: Annotated[CompletedNeeds, _Lax] = Field(
        CompletedNeeds.FINAL,
        description="Which milestones must be completed for that: the last one (final; a plan says how many"
        " others are open still), or all of them.",
    )
    on_hold: str | int = Field(4, description="The status of an install that waits.")
    voided: list[str | int] = Field(["Voided"], description="Statuses of a contract that no longer stands.")


class StatusBody(Options):
    """Field names of the body that sets an install's status."""

    status: str = Field("status_id", description="Takes the status id.")


class MilestoneBody(Options):
    """Field names of the body that sets a milestone's dates."""

    started_at: str = Field("started_at", description="Takes the start.")
    due_at: str = Field("due_at", description="Takes the due date.")
    completed_at: str = Field("completed_at", description="Takes the completion.")


class NoteBody(Options):
    """Field names of the body that adds a note."""

    body: str = Field("note", description="Takes the text.")
    text: str | list[str] = Field(
        ["{body}\n\n{author} (CRM)", "{body}"],
        description="What is written; {name} takes a column of the CRM's note. The first whose columns are"
        " all there.",
    )


class LeadBody(Options):
    """What a new lead is sent with beside its mapped fields."""

    also: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="{lead/add field: text}; {name} takes a column of the CRM's lead; left out where null.",
    )


class AppointmentBody(Options):
    """The appointment that is made for a new lead whose row says when."""

    type: int = Field(description="Enerflo's appointment type.")
    start: str = Field(description="The CRM column with the beginning.")
    minutes: int = Field(60, ge=5, le=1440, description="How long it takes.")


class WriteBodies(Options):
    """Body field names that the vendor does not document (REFERENCE.md §6.1 to §6.3)."""

    status: StatusBody = Field(default_factory=lambda: StatusBody.model_validate({}), description="4.1")
    milestone: MilestoneBody = Field(
        default_factory=lambda: MilestoneBody.model_validate({}), description="3.1"
    )
    note: NoteBody = Field(default_factory=lambda: NoteBody.model_validate({}), description="5.1")
    lead: LeadBody = Field(default_factory=lambda: LeadBody.model_validate({}), description="1.1")
    appointment: AppointmentBody | None = Field(None, description="1.1, where an appointment is wanted.")


class ChangeOrderKeys(Options):
    """Keys of ``change_values`` under which a component may stand, first match wins (REFERENCE.md §8)."""

    panel: list[str] = Field(["panel", "panel_type", "panels", "module"], description="Panel type.")
    panel_count: list[str] = Field(["panel_count", "panelCount", "module_count"], description="Panel count.")
    battery: list[str] = Field(
        ["battery", "batteries", "battery_configuration", "storage"],
        description="Battery configuration.",
    )
    ignored: list[str] = Field([], description="Keys that are known, and of which nothing is taken.")


class SyncConfig(Options):
    """The whole of sync.yaml."""

    version: Literal[1] = Field(description="The version of this file's form.")
    accounts: dict[str, AccountConfig] = Field(description="Enerflo accounts by name.", min_length=1)
    poll: PollOptions = Field(
        default_factory=lambda: PollOptions.model_validate({}), description="How Enerflo is read."
    )
    webhooks: WebhookOptions = Field(
        default_factory=lambda: WebhookOptions.model_validate({}), description="How payloads are taken in."
    )
    reconcile: ReconcileOptions = Field(
        default_factory=lambda: ReconcileOptions.model_validate({}), description="How differences are judged."
    )
    retention: RetentionOptions = Field(
        default_factory=lambda: RetentionOptions.model_validate({}), description="How long things are kept."
    )
    statuses: StatusNames = Field(
        default_factory=lambda: StatusNames.model_validate({}), description="Statuses with a meaning."
    )
    writes: WriteBodies = Field(
        default_factory=lambda: WriteBodies.model_validate({}), description="Undocumented body field names."
    )
    change_orders: ChangeOrderKeys = Field(
        default_factory=lambda: ChangeOrderKeys.model_validate({}), description="Undocumented component keys."
    )
    approval: ApprovalOptions = Field(
        default_factory=lambda: ApprovalOptions.model_validate({}),
        description="Plans that wait for a person.",
    )
    notify: NotifyOptions = Field(
        default_factory=lambda: NotifyOptions.model_validate({}), description="Who is told what."
    )
    columns: Columns = Field(
        default_factory=dict,
        description="{table: {name: path and type}}: further columns of the mirror, made and filled by"
        " enerflo-sync migrate.",
    )
    tables: dict[str, TableMapping] = Field(
        description="The mapped CRM tables, each under a name of its own. Several may be of one kind.",
        json_schema_extra=_NAMED,
    )

    _file: Path = PrivateAttr(Path("sync.yaml"))
    _lines: Mapping[tuple[str, ...], int] = PrivateAttr(default_factory=dict)
    _tables: dict[str, dict[str, TableMapping]] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> Path:
        """Return the path that the configuration was read from."""
        return self._file

    def line(self, *place: str) -> int:
        """Return the line of an option, or of the nearest section around it that the file holds."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def table_line(self, account: str, table: str, *place: str) -> int:
        """Return the line of a table's option: the account's override where there is one."""
        own = ("accounts", account, "tables", table, *place)
        return self._lines[own] if own in self._lines else self.line("tables", table, *place)

    def account(self, name: str) -> AccountConfig:
        """Return one account.

        :raises ConfigurationError: there is none of that name; the text lists those that there are.
        """
        if name not in self.accounts:
            problem = Problem(
                str(self._file),
                self.line("accounts"),
                "accounts",
                f"no account {name}",
                listed(self.accounts),
                nearest(name, self.accounts),
            )
            raise ConfigurationError(str(problem), next_step="Choose it with --account NAME.")
        return self.accounts[name]

    def tables_for(self, account: str) -> dict[str, TableMapping]:
        """Return the account's tables with its overrides applied, in the order of the contract.

        :raises ConfigurationError: there is no account of that name.
        """
        self.account(account)
        return dict(self._tables[account])

    def tables_of(self, account: str, *kinds: str) -> list[str]:
        """Return the names of the account's tables of these kinds, in the order of plans."""
        return [name for name, table in self.tables_for(account).items() if table.kind(name) in kinds]

    def mode_of(self, account: str, table: str) -> Mode:
        """Return which side may be written for one table of an account."""
        return self._tables[account][table].mode or self.account(account).mode

    def writes_anything(self, account: str) -> bool:
        """Return whether the mode of any table of an account allows to write."""
        return any(self.mode_of(account, name) is not Mode.REPORT for name in self.tables_for(account))

    def hash(self, account: str) -> str:
        """Return the sha-256 of what decides a comparison or a plan for this account.

        Comments, the order of options and written-out defaults do not change it.
        """
        tables = {name: table.content(name) for name, table in self.tables_for(account).items()}
        content: dict[str, Any] = {
            "comparison": COMPARISON_VERSION,
            "statuses": self.statuses.model_dump(mode="json"),
            "writes": self.writes.model_dump(mode="json"),
            "tables": tables,
        }
        # A column that is read from another path is another one. Where none is mapped, nothing is added.
        mapped = self._mapped_columns(account)
        if mapped:
            content["columns"] = mapped
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _mapped_columns(self, account: str) -> dict[str, Any]:
        """Return by table and name what is declared of the columns that the account's mapping names."""
        return {
            f"{table}.{name}": column.model_dump(mode="json", exclude={"personal_data"})
            for table, mapping in self.tables_for(account).items()
            for name, column in self.columns.get(mapping.kind(table), {}).items()
            if name in mapping.mirror_columns
        }

    def comparison_hash(self, account: str) -> str:
        """Return the sha-256 of what decides the causes of a reconciliation.

        A default that is written out is a declared rule, and its differences have another cause then.
        """
        declared = [
            (name, *place)
            for name, table in sorted(self.tables_for(account).items())
            for place in table.declared_rules
        ]
        return hashlib.sha256(f"{self.hash(account)}|{json.dumps(declared)}".encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the file, for editors; committed beside it as sync.schema.json."""
    schema = SyncConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
