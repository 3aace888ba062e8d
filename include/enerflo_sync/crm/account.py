"""One account of sync.yaml, and the options that ``defaults`` can set for all accounts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import Field, PrivateAttr

from enerflo_sync.crm.airflow_options import AirflowOptions
from enerflo_sync.crm.elsewhere import CrmDatabase
from enerflo_sync.crm.mapping import Mode
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.overrides import TableOverride
from enerflo_sync.crm.salesforce import SECRETS, SalesforceAccount
from enerflo_sync.crm.schedule import Rhythm, Schedule
from enerflo_sync.crm.source import Places
from enerflo_sync.errors import ConfigurationError

ACCOUNT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
TABLE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")

_Lax = Field(strict=False)

# Options whose variable may be unset until a job needs the option.
LAZY_OPTIONS: Final = re.compile(
    r"(accounts\.[^.]+|defaults)\.(base_url|api_key|warehouse_url|webhook_(drop|archive)_uri|crm\.url"
    r"|salesforce\.(" + "|".join(SECRETS) + "))"
)
# Describes tables by name in the JSON schema.
NAMED_TABLES: Final[Any] = {"propertyNames": {"pattern": f"^{TABLE_NAME.pattern}$"}}


class AccountDefaults(Options):
    """The options of an account that ``defaults`` can set as well: all but tables, which accounts share."""

    base_url: str | None = Field("https://enerflo.io", description="Address of the Enerflo REST API.")
    api_key: str | None = Field(None, description="The key, as a variable: ${ENERFLO_API_KEY}.")
    warehouse_url: str | None = Field(None, description="postgresql://user:password@host:5432/database")
    webhook_drop_uri: str | None = Field(
        None,
        description="Folder or bucket into which payloads are dropped: a path, file://, s3://, gs://, abfs://.",
    )
    webhook_archive_uri: str | None = Field(
        None,
        description="Where ingested files are kept, by date; if unset, the folder archive beside the drop.",
    )
    group: str | None = Field(
        None,
        pattern=f"^{ACCOUNT_NAME.pattern}$",
        description="The group that the account belongs to, for --group and as a tag of its DAGs.",
    )
    airflow: AirflowOptions = Field(
        default_factory=lambda: AirflowOptions.model_validate({}),
        description="How Airflow runs the account's DAGs, and its connections there.",
    )
    schedule: Schedule = Field(
        default_factory=lambda: Schedule.model_validate({}), description="When the jobs start."
    )
    rhythm: Rhythm = Field(
        default_factory=lambda: Rhythm.model_validate({}), description="How often changes start jobs."
    )
    crm: CrmDatabase | None = Field(
        None, description="The database of the CRM's tables, if it is not the warehouse."
    )
    salesforce: SalesforceAccount = Field(
        default_factory=lambda: SalesforceAccount.model_validate({}),
        description="The company at Salesforce, for tables with write_to: salesforce.",
    )
    mode: Annotated[Mode, _Lax] = Field(
        Mode.REPORT, description="Which side may be written: report (none), crm, enerflo or both."
    )


class AccountConfig(AccountDefaults):
    """One Enerflo API key with its warehouse. Secrets are text, or None while their variable is not set."""

    tables: dict[str, TableOverride] = Field(  # type: ignore[valid-type]
        default_factory=dict,
        description="Options of the tables below that differ for this account.",
        json_schema_extra=NAMED_TABLES,
    )

    _name: str = PrivateAttr("")
    _places: Places = PrivateAttr(default_factory=lambda: Places(Path("sync.yaml")))
    _unset: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the account's name in the file."""
        return self._name

    @property
    def has_drop(self) -> bool:
        """Return whether the account names a drop for webhooks, or a variable for one; null names none."""
        return "webhook_drop_uri" in self.model_fields_set and (
            self.webhook_drop_uri is not None or "webhook_drop_uri" in self._unset
        )

    def need(self, option: Literal["base_url", "api_key", "warehouse_url", "webhook_drop_uri"]) -> str:
        """Return the value of an option that the present job needs.

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
        spot = self._places.find(("accounts", self._name, *option.split(".")))
        raise ConfigurationError(
            f"the environment variable {variable} is not set." if variable else "it has no value.",
            where=f"{spot}: accounts.{self._name}.{option}",
            next_step=f"Set {variable or option.upper().replace('.', '_')}, or give {option} a value there.",
        )
