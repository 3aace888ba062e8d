"""The command line: every job without Airflow, through the same functions."""

from __future__ import annotations

from enerflo_sync.process import collect_rarely


def main() -> None:
    """Run the command line and exit with the code of its outcome."""
    collect_rarely()
    # Imported afterwards, because the import itself is what the collections would slow down.
    from enerflo_sync.cli.app import run

    run()


__all__ = ["main"]
