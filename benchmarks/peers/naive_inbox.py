"""What one writes first: each file read, inserted, committed and moved, one after the other."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.jobs import InboxJob

_INSERT = """
insert into sync.webhook_events as e
    (account, event_id, event, install_id, content_hash, received_at, source_uri, state, record, body)
values ('default', %s, %s, %s, %s, %s, %s, 'received', %s, %s)
on conflict (account, event_id) do update set copies = e.copies + 1
"""


def run(job: InboxJob) -> dict[str, Any]:
    """Take in the folder file by file, into the same table as ours."""
    url = sa.make_url(job.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    archive = Path(job.archive) / f"{datetime.now(UTC):%Y/%m/%d}"
    archive.mkdir(parents=True, exist_ok=True)
    read = 0
    with psycopg.connect(url) as connection:
        for path in sorted(Path(job.drop).glob("*.json")):
            text = path.read_text()
            event = json.loads(text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            record = f"installs/{event['id']}"
            target = archive / path.name
            values = (event["webhook_event"], event["id"], digest, datetime.now(UTC), str(target))
            connection.execute(_INSERT, (digest[:32], *values, record, text))
            connection.commit()
            shutil.move(path, target)
            read += 1
    return {"read": read}
