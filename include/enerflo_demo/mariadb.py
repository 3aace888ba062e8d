"""A private MariaDB, as :mod:`enerflo_sync.warehouse.embedded` is a private PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from enerflo_demo.processes import Background, in_background, run
from enerflo_sync.copies.database import crm_engine
from enerflo_sync.errors import ConfigurationError

_SECONDS = 60
_SERVER, _INSTALLER = "mariadbd", "mariadb-install-db"


@contextmanager
def private_mariadb(home: Path, *settings: str) -> Iterator[Path]:
    """Run a MariaDB whose data is in ``home``, and yield its unix socket, which only this user reaches.

    Its user ``root`` has no password. The server ends with the context. Its number is in the file ``pid``
    beside the socket.

    :param settings: further options of the server.

    :raises ConfigurationError: MariaDB is not installed, or does not start; the text names its log.
    """
    require_mariadb()
    data, log = home / "mariadb", home / "mariadb.log"
    # The path of a socket is short, and a checkout's folder may not be.
    with tempfile.TemporaryDirectory(prefix="enerflo-crm-") as folder:
        socket = Path(folder) / "s"
        # A server that starts removes the temporary tables of any other in the same folder.
        options = ["--no-defaults", f"--datadir={data}", f"--tmpdir={folder}"]
        if os.geteuid() == 0:
            # MariaDB runs as root only where it is told to.
            options.append("--user=root")
        install = ["--skip-test-db", "--auth-root-authentication-method=normal"]
        run(_INSTALLER, [_program(_INSTALLER), *options, *install], os.environ, log)
        places = [f"--socket={socket}", f"--pid-file={folder}/pid"]
        limits = ["--skip-networking", "--innodb-buffer-pool-size=64M"]
        command = [_program(_SERVER), *options, *places, *limits, *settings]
        with in_background("MariaDB", command, os.environ, log) as server:
            _wait(server, socket)
            yield socket


def _wait(server: Background, socket: Path) -> None:
    engine = crm_engine(mariadb_url(socket))
    until = time.monotonic() + _SECONDS
    while True:
        server.check()
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            if time.monotonic() > until:
                raise ConfigurationError(
                    f"MariaDB does not answer within {_SECONDS} s.",
                    where="demo --crm mariadb",
                    next_step=f"Read {server.log}.",
                ) from None
            time.sleep(0.2)
        else:
            engine.dispose()
            return


def mariadb_url(socket: Path) -> str:
    """Return the URL of the server behind a socket, as ``accounts.*.crm`` takes it."""
    return f"mysql://root@localhost/?unix_socket={socket}"


def require_mariadb() -> None:
    """Return when a MariaDB and its driver are installed.

    :raises ConfigurationError: one is not; the text says how to install it.
    """
    _program(_SERVER)
    _program(_INSTALLER)
    crm_engine("mysql://").dispose()


def _program(name: str) -> str:
    # Debian keeps servers where a user's PATH does not look.
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise ConfigurationError(
            f"MariaDB is not installed: there is no {name}.",
            where="demo --crm mariadb",
            next_step="Install it (apt-get install mariadb-server), or use --crm duckdb: that is no server.",
        )
    return found
