"""The configuration file as one typed object, and its loading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from enerflo_sync.crm.account import NAMED_TABLES, AccountDefaults
from enerflo_sync.crm.account import AccountConfig as AccountConfig
from enerflo_sync.crm.approvals import ApprovalOptions
from enerflo_sync.crm.columns import Columns
from enerflo_sync.crm.mapping import Mode, TableMapping
from enerflo_sync.crm.modes import widest
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.problems import InvalidConfigurationError, Problem, listed, nearest
from enerflo_sync.crm.reconcile_options import ReconcileOptions
from enerflo_sync.crm.retention import RetentionOptions
from enerflo_sync.crm.routes import NotifyOptions
from enerflo_sync.crm.source import Places, Spot
from enerflo_sync.crm.templates import checked, checked_column
from enerflo_sync.crm.webhook_options import WebhookOptions
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.registry import USUAL

_Lax = Field(strict=False)
_Texts = Annotated[str | list[str], AfterValidator(checked)]

# Raised by a release that compares differently, so that its first run compares everything again.
COMPARISON_VERSION = 2


class PollOptions(Options):
    """How Enerflo is read."""

    lookback_minutes: int = Field(
        15, ge=0, le=1440, description="How far a poll goes back before its watermark."
    )
    per_page: int = Field(500, ge=1, le=5000, description="Installs in one page; fewer after slow answers.")
    min_per_page: int = Field(25, ge=1, le=5000, description="The fewest installs in one page.")
    shrink_guard_percent: int = Field(
        20,
        ge=1,
        le=100,
        description="A walk of a list that finds so many percent fewer records stops and deletes nothing."
        " Webhook events delete no more than this share within a day.",
    )
    resources: tuple[Annotated[PollResource, _Lax], ...] = Field(
        tuple(PollResource(name) for name in USUAL), strict=False, description="What is read.", min_length=1
    )


class CompletedNeeds(StrEnum):
    """Which milestones of an install must be completed before it is set to Completed."""

    FINAL = "final"
    ALL = "all"


class StatusNames(Options):
    """Install statuses with a meaning for this project, each by name or by its id at Enerflo."""

    completed: str | int = Field(
        "Completed", description="The status that an install gets when its last milestone is completed."
    )
    completed_needs: Annotated[CompletedNeeds, _Lax] = Field(
        CompletedNeeds.FINAL,
        description="Which milestones must be completed before that: the last one (final; a plan says how"
        " many others are still open), or all of them.",
    )
    on_hold: str | int = Field(4, description="The status of an install that is on hold.")
    voided: list[str | int] = Field(["Voided"], description="The statuses of voided contracts.")


class StatusBody(Options):
    """Field names of the body that sets an install's status."""

    status: str = Field("status_id", description="The field name for the id of the status.")


class MilestoneBody(Options):
    """Field names of the body that sets a milestone's dates."""

    started_at: str = Field("started_at", description="The field name for the start.")
    due_at: str = Field("due_at", description="The field name for the due date.")
    completed_at: str = Field("completed_at", description="The field name for the completion.")


class NoteBody(Options):
    """Field names of the body that adds a note."""

    body: str = Field("note", description="The field name for the text.")
    text: _Texts = Field(
        ["{body}\n\n{author} (CRM)", "{body}"],
        description="The text that is sent; {name} stands for a column of the CRM's note. The first text of"
        " which all columns have a value is used.",
    )


class LeadBody(Options):
    """Fields of a new lead's request besides its mapped fields."""

    also: dict[str, _Texts] = Field(
        default_factory=dict,
        description="{field of lead/add: text}; {name} stands for a column of the CRM's lead. A field whose"
        " column is null is left out.",
    )


class AppointmentBody(Options):
    """The appointment that is made for a new lead whose row has a time for one."""

    type: int = Field(description="Enerflo's appointment type.")
    start: Annotated[str, AfterValidator(checked_column)] = Field(
        description="The CRM column with the start time."
    )
    minutes: int = Field(60, ge=5, le=1440, description="The length in minutes.")


class WriteBodies(Options):
    """Body field names that the vendor does not document (REFERENCE.md §6.1 to §6.3)."""

    status: StatusBody = Field(
        default_factory=lambda: StatusBody.model_validate({}), description="Sets the status of an install."
    )
    milestone: MilestoneBody = Field(
        default_factory=lambda: MilestoneBody.model_validate({}), description="Sets dates of a milestone."
    )
    note: NoteBody = Field(default_factory=lambda: NoteBody.model_validate({}), description="Adds a note.")
    lead: LeadBody = Field(default_factory=lambda: LeadBody.model_validate({}), description="Adds a lead.")
    appointment: AppointmentBody | None = Field(
        None, description="Books an appointment with a new lead; none is booked without this option."
    )


class ChangeOrderKeys(Options):
    """Keys of ``change_values`` under which a component may be; the first match wins (REFERENCE.md §8)."""

    panel: list[str] = Field(
        ["panel", "panel_type", "panels", "module"], description="Keys that may hold the panel type."
    )
    panel_count: list[str] = Field(
        ["panel_count", "panelCount", "module_count"], description="Keys that may hold the panel count."
    )
    battery: list[str] = Field(
        ["battery", "batteries", "battery_configuration", "storage"],
        description="Keys that may hold the battery configuration.",
    )
    ignored: list[str] = Field([], description="Known keys whose values are not used.")


class SyncConfig(Options):
    """The whole of sync.yaml."""

    version: Literal[1] = Field(1, description="The version of this file's form; 1 without it.")
    defaults: AccountDefaults = Field(
        default_factory=lambda: AccountDefaults.model_validate({}),
        description="Options of all accounts, unless an account sets them itself. {account} in a text is the"
        " account's name.",
    )
    accounts: dict[str, AccountConfig] = Field(
        description="Enerflo accounts by name. Any of them may be a file accounts/NAME.yaml beside this one"
        " instead.",
        min_length=1,
    )
    poll: PollOptions = Field(
        default_factory=lambda: PollOptions.model_validate({}), description="How Enerflo is read."
    )
    webhooks: WebhookOptions = Field(
        default_factory=lambda: WebhookOptions.model_validate({}), description="How webhooks are ingested."
    )
    reconcile: ReconcileOptions = Field(
        default_factory=lambda: ReconcileOptions.model_validate({}), description="How differences are judged."
    )
    retention: RetentionOptions = Field(
        default_factory=lambda: RetentionOptions.model_validate({}), description="How long data is kept."
    )
    statuses: StatusNames = Field(
        default_factory=lambda: StatusNames.model_validate({}), description="Install statuses with a meaning."
    )
    writes: WriteBodies = Field(
        default_factory=lambda: WriteBodies.model_validate({}),
        description="Field names in the bodies of writes to Enerflo, which the vendor does not document."
        " `enerflo-sync doctor --write-check` tries them.",
    )
    change_orders: ChangeOrderKeys = Field(
        default_factory=lambda: ChangeOrderKeys.model_validate({}),
        description="Where the components of a change order are, which the vendor does not document.",
    )
    approval: ApprovalOptions = Field(
        default_factory=lambda: ApprovalOptions.model_validate({}),
        description="Which changes of a plan wait for a person.",
    )
    notify: NotifyOptions = Field(
        default_factory=lambda: NotifyOptions.model_validate({}), description="Who gets which messages."
    )
    columns: Columns = Field(
        default_factory=dict,
        description="{table: {name: path and type}}: further columns of the mirror, made and filled by"
        " enerflo-sync migrate.",
    )
    tables: dict[str, TableMapping] = Field(
        description="The mapped CRM tables, each under a name of its own. Several may be of one kind.",
        json_schema_extra=NAMED_TABLES,
    )

    _places: Places = PrivateAttr(default_factory=lambda: Places(Path("sync.yaml")))
    _tables: dict[str, dict[str, TableMapping]] = PrivateAttr(default_factory=dict)
    _unusable: dict[str, list[Problem]] = PrivateAttr(default_factory=dict)

    @property
    def unusable(self) -> Mapping[str, Sequence[Problem]]:
        """Return the mistakes of accounts that cannot be used, by name; no job runs for them."""
        return self._unusable

    @property
    def names(self) -> list[str]:
        """Return the names of all accounts: the usable ones, then those that cannot be used."""
        return [*self.accounts, *self._unusable]

    def leave_out(self, name: str, problems: Sequence[Problem]) -> None:
        """Remove an account that cannot be used from the usable ones."""
        self.accounts.pop(name, None)
        self._tables.pop(name, None)
        self._unusable.setdefault(name, []).extend(problems)

    def require_all(self) -> None:
        """Refuse a configuration in which an account cannot be used.

        :raises InvalidConfigurationError: it lists the mistakes of all such accounts.
        """
        if self._unusable:
            found = [problem for problems in self._unusable.values() for problem in problems]
            raise InvalidConfigurationError(self.file, found)

    @property
    def file(self) -> Path:
        """Return the path that the configuration was read from."""
        return self._places.file

    def line(self, *place: str) -> int:
        """Return the line of an option, or of the nearest section around it, in the file that has it."""
        return self.spot(*place).line

    def spot(self, *place: str) -> Spot:
        """Return where an option is, or the nearest section around it: file, line and path."""
        return self._places.find(place)

    def table_spot(self, account: str, table: str, *place: str) -> Spot:
        """Return where a table's option is: in the account's override if there is one."""
        own = self._places.own(("accounts", account, "tables", table, *place))
        return own or self.spot("tables", table, *place)

    def account(self, name: str) -> AccountConfig:
        """Return one account.

        :raises ConfigurationError: no account has that name; the text lists the existing names. Or its file
            has mistakes: an :class:`InvalidConfigurationError` lists them.
        """
        if name in self._unusable:
            raise InvalidConfigurationError(self.file, self._unusable[name])
        if name not in self.accounts:
            problem = Problem(
                str(self.file),
                self.spot("accounts").line,
                "accounts",
                f"no account {name}",
                listed(self.names),
                nearest(name, self.names),
            )
            raise ConfigurationError(str(problem), next_step="Choose it with --account NAME.")
        return self.accounts[name]

    def accounts_of(self, group: str) -> list[str]:
        """Return the accounts of a group, in the order of the configuration.

        An account that cannot be used belongs to every group, since its ``group`` may be the mistake.

        :raises ConfigurationError: no account names the group; the text lists the existing groups.
        """
        found = [name for name, account in self.accounts.items() if account.group == group]
        found += self._unusable
        if not found:
            groups = sorted({account.group for account in self.accounts.values() if account.group})
            known = f"No account has a group; write group: {group} in some." if not groups else ""
            near = f" Did you mean {nearest(group, groups)}?" if nearest(group, groups) else ""
            raise ConfigurationError(
                f"no account is of the group {group}.",
                where=f"{self.file}: group",
                next_step=known or f"Choose {listed(groups)} with --group NAME.{near}",
            )
        return found

    def tables_for(self, account: str) -> dict[str, TableMapping]:
        """Return the account's tables with its overrides applied, in the order of the contract.

        :raises ConfigurationError: no account has that name.
        """
        self.account(account)
        return dict(self._tables[account])

    def tables_of(self, account: str, *kinds: str) -> list[str]:
        """Return the names of the account's tables of these kinds, in the order of plans."""
        return [name for name, table in self.tables_for(account).items() if table.kind(name) in kinds]

    def mode_of(self, account: str, table: str) -> Mode:
        """Return which side may be written for one table of an account."""
        return self._tables[account][table].mode or self.account(account).mode

    def widest_mode(self, account: str) -> Mode:
        """Return the widest mode of the account's tables: report only if no table may be written."""
        return widest(self.mode_of(account, name) for name in self.tables_for(account))

    def writes_anything(self, account: str) -> bool:
        """Return whether the mode of any table of an account allows writes."""
        return self.widest_mode(account) is not Mode.REPORT

    def hash(self, account: str) -> str:
        """Return the sha-256 of the options that decide a comparison or a plan for this account.

        Comments, the order of options and explicit defaults do not change it.
        """
        tables = {name: table.content(name) for name, table in self.tables_for(account).items()}
        content: dict[str, Any] = {
            "comparison": COMPARISON_VERSION,
            "statuses": self.statuses.model_dump(mode="json"),
            "writes": self.writes.model_dump(mode="json"),
            "tables": tables,
        }
        # A column that is read from another path has another meaning. If no declared column is mapped,
        # nothing is added.
        mapped = self._mapped_columns(account)
        if mapped:
            content["columns"] = mapped
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _mapped_columns(self, account: str) -> dict[str, Any]:
        """Return by table and name the declarations of the columns that the account's mapping names."""
        return {
            f"{table}.{name}": column.model_dump(mode="json", exclude={"personal_data"})
            for table, mapping in self.tables_for(account).items()
            for name, column in self.columns.get(mapping.kind(table), {}).items()
            if name in mapping.mirror_columns
        }

    def comparison_hash(self, account: str) -> str:
        """Return the sha-256 of the options that decide the causes of a reconciliation.

        An explicit default is a declared rule, which gives its differences another cause.
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
    # All accounts may have files of their own.
    schema["required"].remove("accounts")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def account_json_schema() -> dict[str, Any]:
    """Return the JSON schema of an account's file, committed as account.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **AccountConfig.model_json_schema()}
