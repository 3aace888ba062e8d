"""``--where``: a condition on the mirror's installs, as an SQL condition without any other SQL.

Every word is checked before PostgreSQL sees it: only columns of ``enerflo.installs``, values and comparisons
are allowed. So a condition cannot read another table, call a function with side effects, or end the
condition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.schema import installs

COLUMNS = tuple(column.name for column in installs.columns if column.name not in ("account", "raw_hash"))

_WORDS = frozenset("and or not is null true false in between like ilike".split())
_TYPES = frozenset("date timestamp timestamptz interval".split())
_FUNCTIONS = frozenset({"lower", "upper"})
_MOMENTS = frozenset({"current_date", "current_timestamp"})
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)(?![\w.])"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark><=|>=|<>|!=|[=<>(),+-]))"
)


@dataclass(frozen=True)
class Condition:
    """A condition over the row ``i`` of ``enerflo.installs``.

    :param sql: the condition, for a statement with ``%(name)s`` parameters.
    """

    sql: str

    def of(self, resource: Resource) -> str:
        """Return the condition that a row ``i`` of a resource's own table belongs to the selected installs.

        It is ``false`` if the table shares no column with installs, because the link is not known then.
        """
        if resource.table is installs:
            return self.sql
        shared = resource.backfilled_by or resource.id_column
        if shared not in installs.c:
            return "false"
        return (
            f"i.{shared} in (select i.{shared} from enerflo.installs i"  # noqa: S608 - names of the schema
            f" where i.account = %(account)s and {self.sql})"
        )

    def check(self, connection: sa.Connection) -> None:
        """Let PostgreSQL check the condition, in a read-only transaction.

        :raises ConfigurationError: PostgreSQL cannot evaluate the condition.
        """
        statement = (
            "/* enerflo-sync rebuild: check --where */"
            f" select from enerflo.installs i where {self.sql} limit 0"
        )
        try:
            with connection.begin():
                connection.exec_driver_sql("set transaction read only")
                connection.exec_driver_sql(statement, {})
        except (sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError) as error:
            diagnosis = getattr(error.orig, "diag", None)
            said = getattr(diagnosis, "message_primary", None) or type(error.orig).__name__
            raise _wrong(f"PostgreSQL says: {said}.") from None


def read_condition(text: str) -> Condition:
    """Parse ``text`` and return it as a condition.

    :raises ConfigurationError: the text contains a word or character that is not allowed in a condition on
        installs, or its brackets do not match.
    """
    words: list[str] = []
    position, depth = 0, 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise _wrong(f"there is {text[position:].lstrip()[:12]!r}, which no condition holds.")
        position = found.end()
        word = found["word"]
        words.append(_allowed(word, text[position:]) if word else found[0].strip())
        depth += {"(": 1, ")": -1}.get(found["mark"] or "", 0)
        if depth < 0:
            break
    if depth:
        raise _wrong("its brackets do not match.")
    if not words:
        raise _wrong("it is empty.")
    return Condition("(" + " ".join(words).replace("%", "%%") + ")")


def _allowed(word: str, rest: str) -> str:
    """Return a word as it is written in the statement.

    :raises ConfigurationError: the word is not allowed.
    """
    lower = word.lower()
    if lower in COLUMNS:
        return f"i.{lower}"
    followed = rest.lstrip()[:1]
    wanted = {**dict.fromkeys(_TYPES, "'"), **dict.fromkeys(_FUNCTIONS, "("), "now": "("}.get(lower)
    if lower in _WORDS or lower in _MOMENTS or (wanted is not None and followed == wanted):
        return lower
    raise _wrong(f"it holds the word {word!r}, which is no column of enerflo.installs and no comparison.")


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"this is not a condition on installs: {why}",
        where="--where",
        next_step="Write it like \"status_name = 'Voided' and created_at < '2025-01-01'\"; the columns are"
        f" {', '.join(COLUMNS)}.",
    )
