"""Results that are written to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from enerflo_sync.errors import ConfigurationError


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file completely or not at all.

    :raises ConfigurationError: the file cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as stream:
            write(stream)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigurationError(
            f"the result cannot be written ({error.strerror}).",
            where=str(path),
            next_step="Choose another place with --out. The result itself is stored.",
        ) from error
