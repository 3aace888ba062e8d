"""The sections of sync.yaml about Salesforce: the account's company, and a table's object there."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from enerflo_sync.crm.options import Options

# Options whose variable may be unset while nothing is written to Salesforce.
SECRETS: Final = ("url", "client_id", "client_secret", "token")

_NAME: Final = r"^[A-Za-z][A-Za-z0-9_]*$"


def _text(value: str) -> str:
    return value.strip()


class SalesforceAccount(Options):
    """The company at Salesforce, and the share of its daily requests that is left for others."""

    connection: str = Field("salesforce_default", description="Id of its Airflow connection.")
    url: Annotated[str, AfterValidator(_text)] | None = Field(
        None,
        description="The company's own address there (My Domain), as a variable: ${SALESFORCE_URL}; "
        "https://company.my.salesforce.com. Inside Airflow the connection stands in.",
    )
    client_id: str | None = Field(
        None, description="Consumer key of an app with the OAuth client credentials flow: a variable."
    )
    client_secret: str | None = Field(None, description="Its consumer secret: a variable.")
    token: str | None = Field(
        None, description="An access token in place of client_id and client_secret; nothing renews it."
    )
    api_version: str = Field("v61.0", pattern=r"^v[0-9]{2,3}\.0$", description="Version of the REST API.")
    keep_free_percent: float = Field(
        20,
        ge=0,
        lt=100,
        description="Share of the day's requests (Sforce-Limit-Info) that is left for others.",
    )


class SalesforceObject(Options):
    """The object of Salesforce that a table is a copy of."""

    object: str = Field(pattern=_NAME, description="Its API name, as Opportunity or Project__c.")
    id: str = Field("Id", description="The copy's column with the record's id at Salesforce.")
    fields: dict[str, Annotated[str, Field(pattern=_NAME)]] = Field(
        default_factory=dict,
        description="{column of the copy: API name of the field}, where the copy has another name for it.",
    )
    delete: bool = Field(
        False,
        description="Records are deleted there (into its recycle bin) where delete_in lets us. Needs a column"
        " of IsDeleted in deleted_when.",
    )
    late_hours: float = Field(
        24,
        gt=0,
        le=24 * 90,
        description="After so many hours a change that the copy does not show is late: unexplained.",
    )

    def field_of(self, column: str) -> str:
        """Return the API name of the field in a column of the copy."""
        if column == self.id:
            return "Id"
        return self.fields.get(column, column)
