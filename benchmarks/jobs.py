"""What a contender is asked to do: plain values that cross the border into its own process."""

from __future__ import annotations

import msgspec


class LoadJob(msgspec.Struct, frozen=True, tag=True):
    """Bring every install that the API lists into PostgreSQL.

    :param database_url: SQLAlchemy URL with ``postgresql+psycopg``, over a unix socket.
    :param per_page: installs asked for in one page; None leaves the contender its own default.
    :param folder: the contender's own working folder, kept between a first load and its re-polls.
    :param request_limit: the request budget's requests per window; None leaves the vendor's limit.
    """

    base_url: str
    api_key: str
    database_url: str
    per_page: int | None
    folder: str
    request_limit: int | None = None


class CompareJob(msgspec.Struct, frozen=True, tag=True):
    """Compare the two tables of ``benchmarks.rows``.

    :param config_path: the sync.yaml that maps them; only ours reads it.
    :param full: whether every row is compared; only ours can do anything else.
    """

    database_url: str
    config_path: str
    full: bool = True


class CopyJob(msgspec.Struct, frozen=True, tag=True):
    """Find what differs in a CRM table in another database.

    :param crm_url: as ``accounts.*.crm.url`` names the database.
    """

    database_url: str
    crm_url: str
    config_path: str


class InboxJob(msgspec.Struct, frozen=True, tag=True):
    """Take every file of a folder into ``sync.webhook_events`` and move it to the archive.

    :param drop: the folder; ``archive`` is where its files go, by date.
    :param wake_ups: how often ours looks into the folder; what is told is the median look.
    """

    database_url: str
    drop: str
    archive: str
    wake_ups: int = 1


class PlanJob(msgspec.Struct, frozen=True, tag=True):
    """Decide about every difference of a reconciliation that was made."""

    database_url: str
    config_path: str
    reconciliation_id: str


class ApplyJob(msgspec.Struct, frozen=True, tag=True):
    """Make the changes of a plan, on the CRM's side or at Enerflo.

    :param base_url: where the company answers; empty where nothing goes to it, as is the key.
    """

    database_url: str
    config_path: str
    plan_hash: str
    base_url: str = ""
    api_key: str = ""


class ChecksJob(msgspec.Struct, frozen=True, tag=True):
    """Check the change orders that are new or changed.

    :param config_path: the sync.yaml; change_orders.yaml lies beside it.
    """

    database_url: str
    config_path: str


class RebuildJob(msgspec.Struct, frozen=True, tag=True):
    """Derive the mirror again from its raw versions and stored events.

    :param write: whether what differs is written.
    :param core: the only core that the contender may use; None for all.
    """

    database_url: str
    write: bool
    core: int | None = None


class BackfillJob(msgspec.Struct, frozen=True, tag=True):
    """Read every install again as a backfill, or go on with the one that was left unfinished.

    :param journal: a file to which each answered request is added, so that a kill leaves it behind.
    :param resume: whether one is gone on with.
    """

    base_url: str
    api_key: str
    database_url: str
    config_path: str
    journal: str
    resume: bool = False


class LiveJob(msgspec.Struct, frozen=True, tag=True):
    """Poll the statuses again and again, in the lane of live work.

    :param seconds: for how long.
    :param pause: seconds between two polls.
    """

    base_url: str
    api_key: str
    database_url: str
    config_path: str
    seconds: float
    pause: float


class AccountJob(msgspec.Struct, frozen=True, tag=True):
    """Run one task of one account among many.

    :param account: its name in the configuration.
    :param plan: whether it is reconciled and planned; otherwise it is polled.
    """

    base_url: str
    api_key: str
    database_url: str
    config_path: str
    account: str
    plan: bool


class PagesJob(msgspec.Struct, frozen=True, tag=True):
    """Answer each address some times.

    :param paths: of our pages; :param airflow: addresses of Airflow's own, answered in the same process.
    :param requests: of each address that are timed.
    :param export: the address of a download that is timed once.
    """

    database_url: str
    config_path: str
    paths: tuple[str, ...]
    airflow: tuple[str, ...]
    requests: int
    export: str


Job = (
    LoadJob
    | CompareJob
    | CopyJob
    | InboxJob
    | PlanJob
    | ApplyJob
    | ChecksJob
    | RebuildJob
    | BackfillJob
    | LiveJob
    | PagesJob
    | AccountJob
)
