"""Which storage an address names, and how its file system is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enerflo_sync.errors import ConfigurationError

# Storages of objects, and the extra of this package that reads and writes each of them.
EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}
# Storages where a file appears only when it is complete. Elsewhere the receiver renames, but another writer
# may be unable to.
WHOLE_OBJECTS = frozenset({*EXTRAS, "memory"})

# Opens the storage of a scheme ("s3") as a file system of fsspec, with credentials of the caller's.
Store = Callable[[str], Any]


def scheme_of(uri: str) -> str:
    """Return the kind of storage in an address; a plain path is a file."""
    scheme, found, _ = uri.partition("://")
    return "file" if not found or scheme == "local" else scheme


def local_path(uri: str) -> str:
    """Return the path in a ``file://`` address, or a plain path unchanged."""
    return uri.partition("://")[2] if "://" in uri else uri


def without_user(uri: str) -> str:
    """Return an address without its user, password and query."""
    scheme, found, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def open_storage(uri: str, where: str, store: Store | None = None) -> tuple[Any, str]:
    """Return the file system of an address and the path there.

    :param where: what an error names: the option of the address, or the address without its user.
    :param store: opens the storage; None means the storage's library, with its own credentials (environment,
        profile or instance role).
    :raises ConfigurationError: no such storage is known, or its library is not installed.
    """
    # Imported with the first storage: the configuration names storages that most jobs never open.
    from fsspec.core import url_to_fs

    scheme = uri.partition("://")[0]
    try:
        if store is None:
            files, path = url_to_fs(uri, use_listings_cache=False)
            return files, path.rstrip("/")
        files = _without_cache(store(scheme))
        return files, files._strip_protocol(uri).rstrip("/")
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        raise ConfigurationError(
            f"the part that reads and writes {scheme}:// is not installed.",
            where=where,
            next_step=f"Install enerflo-sync[{extra}]." if extra else "Install the fsspec part for it.",
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"no storage is known for {scheme}://.",
            where=where,
            next_step="Use a path, file://, s3://, gs://, abfs:// or another protocol of fsspec.",
        ) from error


def _without_cache(files: Any) -> Any:
    """Return a file system that asks the storage at each listing: others put files there."""
    listings = getattr(files, "dircache", None)
    if listings is not None:
        listings.use_listings_cache = False
    files.invalidate_cache()
    return files
