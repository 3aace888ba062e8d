"""Lines of sync.yaml that settle differences, written into a copy of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from enerflo_sync.crm.edited import NotReplacedError, replaced
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import run_copy
from enerflo_sync.reconcile.fit.advice import yaml_line, yaml_value
from enerflo_sync.reconcile.fit.preview import ProposedOption, TableFit, table_fits
from enerflo_sync.shipped import is_packaged
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated

_NOT_FITTING = "its mapping does not fit the live table: enerflo-sync doctor says where."


class SuggestedLine(msgspec.Struct, frozen=True):
    """One line of ``sync.yaml`` that would settle differences.

    :param file: the file that has the option now, with its ``line``; ``what`` is the option's path.
    :param found: the rows for which the line is suggested.
    :param write: the suggested option.
    :param written: whether the copy has the line; otherwise a person has to write it, because the option
        contains a variable, or because an anchor or a merge of YAML shares it with other options.
    :param choices: what a person has to know who takes it, as other options that fit as well.
    :param of_every_account: whether the line also counts for other accounts, whose rows were not read.
    """

    file: str
    line: int
    what: str
    found: str
    write: str
    written: bool
    of_every_account: bool
    choices: Sequence[str] = ()


class Suggestions(msgspec.Struct, frozen=True):
    """The suggestions for one account.

    :param copies: by file that has the options, the copy that was written.
    :param what_if: the copy of sync.yaml, which what-if takes; None if no line belongs there.
    :param not_looked_at: by table, why its rows were not read.
    """

    account: str
    lines: Sequence[SuggestedLine]
    copies: Mapping[str, str]
    what_if: str | None
    not_looked_at: Mapping[str, str]


def run_suggest(context: AccountContext, out: Path | None, environ: Mapping[str, str]) -> Suggestions:
    """Read the rows that match, as the doctor does, and write lines that settle differences into a copy.

    :param out: the copy; by default ``sync.suggested.yaml`` beside the file, or in the working folder if the
        file is the packaged one.
    :param environ: fills the variables of the copy, to check it.
    :raises ConfigurationError: the copy is there already or cannot be written, or ``out`` is one name for two
        files.
    """
    require_migrated(context.engine)
    if context.crm is not None:
        run_copy(context)
    with warehouse_errors("suggest"), context.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("set transaction read only")
        fits = list(table_fits(connection, context.config, context.account, context.config_path))
    texts: dict[Path, str] = {}
    lines = [_line(context, fit.table, one, texts) for fit in fits for one in fit.proposed]
    copies = _copies(context, sorted(texts), out)
    for file, copy in copies.items():
        _write(copy, texts[file])
    main = copies.get(context.config.file)
    if main is not None and main.parent == context.config.file.parent:
        load_config(main, environ)
    return Suggestions(
        context.account,
        lines,
        {str(file): str(copy) for file, copy in copies.items()},
        None if main is None else str(main),
        dict(_not_looked_at(context, fits)),
    )


def _line(context: AccountContext, table: str, one: ProposedOption, texts: dict[Path, str]) -> SuggestedLine:
    """Replace an option in the text of its file, and return the suggested line."""
    spot = context.config.table_spot(context.account, table, *one.option)
    is_written = False
    if spot.place[-len(one.option) - 2 :] == ("tables", table, *one.option):
        place = spot.place if spot.file == context.config.file else spot.place[2:]
        try:
            # Line ends stay as they are.
            text = texts.get(spot.file) or spot.file.read_bytes().decode()
            texts[spot.file] = replaced(text, place, yaml_value(one.value))
            is_written = True
        except NotReplacedError:
            pass
    what = ".".join(("tables", table, *one.option))
    write = yaml_line({one.option[-1]: one.value})
    is_shared = spot.place[:1] != ("accounts",) and len(context.config.names) > 1
    file = str(spot.file)
    return SuggestedLine(file, spot.line, what, one.found, write, is_written, is_shared, one.choices)


def _copies(context: AccountContext, files: Sequence[Path], out: Path | None) -> dict[Path, Path]:
    """Return by file the path of its copy.

    A copy is beside sync.yaml, also the copy of an account's file, because the folder ``accounts`` may hold
    only accounts. The copy of the packaged file is in the working folder.
    """
    if out is not None and len(files) > 1:
        raise ConfigurationError(
            f"lines belong into {len(files)} files: {', '.join(file.name for file in files)}.",
            where="--out",
            next_step="Leave --out away: each gets a copy of its own.",
        )
    main = context.config.file
    folder = Path() if is_packaged(main) else main.parent
    copies = {file: out or folder / f"{file.stem}.suggested{file.suffix}" for file in files}
    for copy in copies.values():
        if copy.exists():
            raise ConfigurationError(
                "the file is there already.",
                where=str(copy),
                next_step="Remove it, or name another one with --out.",
            )
    return copies


def _write(copy: Path, text: str) -> None:
    try:
        copy.write_bytes(text.encode())
    except OSError as error:
        raise ConfigurationError(
            f"the copy cannot be written ({error.strerror}).",
            where=str(copy),
            next_step="Name a file that you may write with --out.",
        ) from None


def _not_looked_at(context: AccountContext, fits: Sequence[TableFit]) -> Iterator[tuple[str, str]]:
    looked_at = {fit.table: fit for fit in fits}
    for name in context.config.tables_for(context.account):
        if name not in looked_at:
            yield name, _NOT_FITTING
        elif looked_at[name].keys is None:
            yield name, looked_at[name].why_not
