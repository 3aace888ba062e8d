"""Opens the drop at an address, on the storage that the address names."""

from __future__ import annotations

import re

from enerflo_sync.drop.drop import Drop
from enerflo_sync.drop.storage import WHOLE_OBJECTS, Store, local_path, scheme_of
from enerflo_sync.errors import ConfigurationError

# How long a new file is left alone on a storage where its writer may be unable to rename it.
SETTLE_SECONDS = 10.0

_PASSWORD = re.compile(r"//[^/@:]+:[^/@]*@")


def open_drop(
    uri: str,
    archive_uri: str | None = None,
    settle_seconds: float | None = None,
    store: Store | None = None,
) -> Drop:
    """Return the drop at ``uri`` without accessing it.

    :param archive_uri: destination of ingested files; None means the folder ``archive`` beside the drop.
    :param settle_seconds: minimum age of a file before it is read; None means the storage's default.
    :param store: opens a storage that is no folder; None means its library with its own credentials.
    :raises ConfigurationError: the archive is inside the drop or on another storage, the storage's library is
        not installed, or an address contains a password.
    """
    for address in filter(None, (uri, archive_uri)):
        if _PASSWORD.search(address):
            raise ConfigurationError(
                "a user and password stand in the address, which is stored with every event.",
                where="webhook_drop_uri, webhook_archive_uri",
                next_step="Give them to the storage library, or to airflow.storage_connection.",
            )
    scheme = scheme_of(uri)
    settle = settle_seconds
    if settle is None:
        settle = 0.0 if scheme == "file" or scheme in WHOLE_OBJECTS else SETTLE_SECONDS
    if archive_uri and scheme_of(archive_uri) != scheme:
        raise ConfigurationError(
            f"the archive lies on {scheme_of(archive_uri)}, and the drop on {scheme}.",
            where="webhook_archive_uri",
            next_step="Choose a place on the drop's own storage: files are moved there, not copied.",
        )
    if scheme == "file":
        from enerflo_sync.drop.local import LocalDrop

        return LocalDrop(local_path(uri), local_path(archive_uri) if archive_uri else None, settle)
    from enerflo_sync.drop.remote import RemoteDrop

    return RemoteDrop(uri.rstrip("/"), archive_uri and archive_uri.rstrip("/"), settle, store)
