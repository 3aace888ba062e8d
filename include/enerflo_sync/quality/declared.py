"""Declaration files of a data team beside sync.yaml: find each, and read it with all mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from enerflo_sync.crm.load import shape_problems
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.problems import InvalidConfigurationError, Problem
from enerflo_sync.crm.source import Source, read_source
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.shipped import shipped

_NOTHING_LAZY = re.compile(r"(?!)")
_File = TypeVar("_File", bound=Options)


@dataclass(frozen=True)
class Declared:
    """One such file.

    :param what: its name for people: suite.
    :param name: its file name beside sync.yaml.
    :param variable: the environment variable for another path.
    """

    what: str
    name: str
    variable: str

    def find(self, config_path: Path, environ: Mapping[str, str]) -> Path:
        """Return its path: the variable's, else beside sync.yaml, else the shipped file."""
        if named := environ.get(self.variable):
            return Path(named)
        beside = config_path.parent / self.name
        return beside if beside.exists() else shipped(self.name)

    def read(
        self, path: Path, environ: Mapping[str, str], model: type[_File]
    ) -> tuple[_File, Source, list[Problem]]:
        """Return the parsed file, its lines, and the problems in its text.

        :raises ConfigurationError: the file cannot be read or does not fit ``model``; an
            :class:`InvalidConfigurationError` then lists all mistakes with file, line, found, expected and
            the nearest valid name.
        """
        try:
            source = read_source(path, environ, _NOTHING_LAZY)
        except InvalidConfigurationError:
            raise
        except ConfigurationError as error:
            next_step = f"Check the path in {self.variable}, or lay {self.name} beside sync.yaml."
            raise ConfigurationError(
                error.what.replace("configuration", self.what), where=error.where, next_step=next_step
            ) from error
        problems = list(source.problems)
        try:
            return model.model_validate(source.data), source, problems
        except ValidationError as error:
            known = {(problem.line, problem.place) for problem in problems}
            problems += [
                p for p in shape_problems(source, error, (), model) if (p.line, p.place) not in known
            ]
            raise InvalidConfigurationError(path, problems) from None
