"""One drafted table: its options in the order of the file, the reason for each, and mere suggestions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from enerflo_sync.reconcile.fit.advice import yaml_line

_SECTIONS = ("fields", "columns")


@dataclass(frozen=True)
class Suggestion:
    """A commented-out line: an option of the table, or a field if ``of_field`` is true."""

    option: Mapping[str, Any]
    why: str
    of_field: bool = False


@dataclass(frozen=True)
class DraftedTable:
    """A table of ``sync.yaml``.

    :param why: by option, or by a field's column, why it is there.
    :param refused: why the whole table is only a suggestion; empty if the table is used.
    """

    name: str
    kind: str
    about: str
    options: Mapping[str, Any]
    why: Mapping[str, str] = field(default_factory=dict)
    suggestions: Sequence[Suggestion] = ()
    refused: str = ""

    def without(self, reason: str) -> DraftedTable:
        """Return the table as a suggestion only, with the reason."""
        return replace(self, refused=reason)

    @property
    def section(self) -> str:
        """Return the option that holds the compared columns."""
        return "columns" if "columns" in self.options else "fields"

    def lines(self) -> Iterator[str]:
        """Yield the table's lines; the lines of a suggested table are all comments."""
        if not self.refused:
            yield from self._lines()
            return
        yield f"  # {one_line(self.refused)}"
        for line in self._lines():
            yield f"  #{line[1:]}" if line.startswith("  ") else f"#{line}"

    def _lines(self) -> Iterator[str]:
        yield f"  # {one_line(self.about)}"
        yield f"  {self.name}:"
        for option, value in self.options.items():
            if option in _SECTIONS:
                continue
            yield _line(4, {option: value}, self.why.get(option, ""))
            if option == "crm_table":
                yield from self._suggested(4, of_field=False)
        yield f"    {self.section}:"
        for column, value in self.options[self.section].items():
            yield _line(6, {column: value}, self.why.get(f"{self.section}.{column}", ""))
        yield from self._suggested(6, of_field=True)

    def _suggested(self, indent: int, *, of_field: bool) -> Iterator[str]:
        for one in self.suggestions:
            if one.of_field is of_field:
                yield _line(indent, one.option, one.why, behind=True)


def _line(indent: int, option: Mapping[str, Any], why: str, *, behind: bool = False) -> str:
    text = yaml_line(option)
    return f"{' ' * indent}{'# ' if behind else ''}{text}{f'  # {one_line(why)}' if why else ''}"


def one_line(text: str) -> str:
    """Return a text as one line: a line break in a name would end the comment."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
