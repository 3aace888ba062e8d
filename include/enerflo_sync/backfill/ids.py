"""Install ids and deal uuids from an argument, a file or a query, all checked before the first read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.enerflo.ids import integer_or_uuid
from enerflo_sync.errors import BadRecordError, ConfigurationError
from enerflo_sync.warehouse.engine import warehouse_errors

_SEPARATORS = re.compile(r"[\s,;]+")
# Possible column names in the first line of an exported file.
_HEADERS = {"id", "install_id", "enerflo_install_id", "deal_id", "install"}
_SHOWN = 5
_QUERY_SECONDS = 300

Named = tuple[set[int], dict[str, None]]


def ids_of_text(text: str, where: str = "the ids") -> tuple[list[int], list[str]]:
    """Return the install ids and deal uuids in ``text``, separated by spaces, commas or lines.

    :raises ConfigurationError: a word is neither; the text says where.
    """
    return _sorted_out(_of_lines(text), where)


def _of_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        for word in _SEPARATORS.split(line.strip()):
            if word and not (number == 1 and word.lower().strip('"') in _HEADERS):
                yield number, word.strip('"')


def _sorted_out(words: Iterable[tuple[int, str]], where: str) -> tuple[list[int], list[str]]:
    installs, deals = dict[int, None](), dict[str, None]()
    wrong: list[int] = []
    for number, word in words:
        try:
            found = integer_or_uuid(word, "id")
        except BadRecordError:
            wrong.append(number)
            continue
        if found.isdigit():
            installs[int(found)] = None
        else:
            deals[found] = None
    if wrong:
        lines = ", ".join(str(number) for number in dict.fromkeys(wrong[:_SHOWN]))
        more = f" and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        raise ConfigurationError(
            f"{count_of(len(wrong), 'entry is', 'entries are')} neither an install id nor the uuid of a deal"
            f" (line {lines}{more}).",
            where=where,
            next_step="Nothing was read. Correct them: an id is a whole number, a uuid has 36 characters.",
        )
    return list(installs), list(deals)


def ids_of_file(path: Path) -> tuple[list[int], list[str]]:
    """Return the ids in a file as :func:`ids_of_text` does, skipping a header line such as ``install_id``.

    :raises ConfigurationError: the file is unreadable, or contains something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the file cannot be read ({type(error).__name__}).",
            where=str(path),
            next_step="Give a text file with one id on each line.",
        ) from None
    return ids_of_text(text, str(path))


def ids_of_query(engine: sa.Engine, query: str) -> tuple[list[int], list[str]]:
    """Return the ids in the first column of a read-only query against the warehouse.

    :raises ConfigurationError: the warehouse refuses the query, or the column contains something else.
    """
    with (
        warehouse_errors("the query for ids"),
        engine.connect() as connection,
        connection.begin() as transaction,
    ):
        connection.exec_driver_sql("set transaction read only")
        connection.exec_driver_sql(f"set local statement_timeout = '{_QUERY_SECONDS}s'")
        try:
            rows = connection.execute(sa.text(query.strip().rstrip(";").replace(":", r"\:"))).fetchall()
        except (sa.exc.ProgrammingError, sa.exc.InternalError, sa.exc.DataError) as error:
            raise _refused(error.orig) from None
        except sa.exc.ResourceClosedError:
            raise ConfigurationError(
                "the query gives no rows at all.", where="--query", next_step="Write a select of ids."
            ) from None
        finally:
            if transaction.is_active:
                transaction.rollback()
    words = ((number, str(row[0])) for number, row in enumerate(rows, start=1) if row[0] is not None)
    return _sorted_out(words, "--query")


def _refused(error: BaseException | None) -> ConfigurationError:
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return ConfigurationError(
        f"the warehouse refuses the query: {said or type(error).__name__}.",
        where="--query",
        next_step="Write one select whose first column holds install ids or deal uuids.",
    )
