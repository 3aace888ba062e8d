"""The section ``webhooks`` of sync.yaml."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class WebhookOptions(Options):
    """How dropped payloads are ingested."""

    settle_seconds: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="A file younger than this may still be written and is left alone. Unset: 0 where files"
        " appear whole (folders, s3, gs, abfs), 10 elsewhere (sftp, ftp, smb …).",
    )
    max_file_mb: int = Field(
        32, ge=1, le=1024, description="Files that are larger after unpacking go to quarantine unread."
    )
    max_event_mb: int = Field(4, ge=1, le=64, description="Larger events go to quarantine.")
    archive_days: int | None = Field(
        None,
        ge=1,
        description="Days after which archived files are deleted; retention.archive_days is the same. Unset:"
        " never.",
    )
    not_found_minutes: int = Field(
        60,
        ge=0,
        description="How long an event waits for a record that Enerflo does not know yet, until quarantine.",
    )
    max_records: int = Field(
        1500, ge=1, description="Records read again in one run; the next run continues with the rest."
    )
    ignored_events: list[str] = Field(
        [], description="Further event names that are known to you and need no action."
    )
