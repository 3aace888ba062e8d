"""Which tests reach which statement of the mutated modules: a mutant is tried with these tests alone.

Each statement of a function is given a call that notes its line, in a copy of the tree, and every test of the
targets runs once. A constant of a module (an SQL statement, a list of rules) is reached where a statement that
uses it is.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# ``module:line`` of the statements that the running test has reached so far.
REACHED: set[str] = set()


@dataclass(frozen=True)
class Timed:
    """One test as it was without any mutant: the seconds that it took, and what it reached."""

    name: str
    seconds: float
    reached: frozenset[str]

    @property
    def file(self) -> str:
        """Return the test's file, from the top of the tree."""
        return self.name.split("::")[0]


def noting(code: str, module: str) -> str:
    """Return a module's code with a note before each statement of its functions."""
    tree = ast.parse(code)
    for function in _functions(tree):
        _note_bodies(function, module)
    after = next(n for n, one in enumerate(tree.body) if not _is_head(one))
    tree.body[after:after] = ast.parse("from tests.mutation.reach import REACHED as _REACHED").body
    return ast.unparse(ast.fix_missing_locations(tree))


def _is_head(statement: ast.stmt) -> bool:
    docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return docstring or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")


def _functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]


def _note_bodies(node: ast.AST, module: str) -> None:
    for name, value in list(ast.iter_fields(node)):
        if not (isinstance(value, list) and value):
            continue
        if isinstance(value[0], ast.stmt):
            noted: list[ast.stmt] = []
            for statement in value:
                # Functions within functions have their own turn.
                if not isinstance(statement, ast.FunctionDef):
                    _note_bodies(statement, module)
                if not _is_head(statement):
                    noted += ast.parse(f"_REACHED.add('{module}:{statement.lineno}')").body
                noted.append(statement)
            setattr(node, name, noted)
        else:
            for one in value:
                if isinstance(one, (ast.ExceptHandler, ast.match_case)):
                    _note_bodies(one, module)


@dataclass
class Code:
    """The modules of one run, and where in them a line is reached."""

    modules: Mapping[str, str]
    _trees: dict[str, ast.Module] = field(default_factory=dict)

    def tree(self, module: str) -> ast.Module:
        """Return a module's syntax tree."""
        if module not in self._trees:
            self._trees[module] = ast.parse(self.modules[module])
        return self._trees[module]

    def places(self, module: str, line: int) -> set[str]:
        """Return ``module:line`` of every statement in a function that runs the code of a line."""
        for function in _functions(self.tree(module)):
            if function.lineno <= line <= (function.end_lineno or 0) or any(
                one.lineno <= line <= (one.end_lineno or 0) for one in function.decorator_list
            ):
                inner = [one for one in _statements(function) if one.lineno <= line <= (one.end_lineno or 0)]
                # The last that contains the line is the innermost; a signature runs with the whole body.
                found = inner[-1] if inner else next(o for o in function.body if not _is_head(o))
                if isinstance(found, ast.FunctionDef):
                    continue
                return {f"{module}:{found.lineno}"}
        return self._users(module, line)

    def _users(self, module: str, line: int) -> set[str]:
        """Return the places of the statements that use a constant or class, through other constants too."""
        open_names, found, known = _bound(self.tree(module), line), set[str](), set[str]()
        while open_names:
            name = open_names.pop()
            known.add(name)
            for other in self.modules:
                if other != module and name not in _imported(self.tree(other), module):
                    continue
                for statement in self.tree(other).body:
                    if name not in _names(statement):
                        continue
                    for function in _functions(statement):
                        found |= {f"{other}:{o.lineno}" for o in _statements(function) if name in _names(o)}
                    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                        open_names |= _targets(statement) - known
        return found


def _statements(function: ast.FunctionDef) -> list[ast.stmt]:
    return [one for one in ast.walk(function) if isinstance(one, ast.stmt) and one is not function]


def _bound(tree: ast.Module, line: int) -> set[str]:
    for statement in tree.body:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        if first <= line <= (statement.end_lineno or 0):
            return _targets(statement)
    return set()


def _targets(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.Assign():
            return {o.id for target in statement.targets for o in ast.walk(target) if isinstance(o, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.ClassDef(name=name):
            return {name}
    return set()


@cache
def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(o.id for o in ast.walk(node) if isinstance(o, ast.Name) and isinstance(o.ctx, ast.Load))


def _imported(tree: ast.Module, module: str) -> set[str]:
    dotted = "enerflo_sync." + module.removesuffix(".py").replace("/", ".")
    return {
        name.name
        for one in tree.body
        if isinstance(one, ast.ImportFrom) and one.module == dotted
        for name in one.names
    }


class Reach:
    """What the tests of a run reach, and in which order to try a mutant with them."""

    def __init__(self, code: Code, tests: Iterable[Timed]) -> None:
        self._code = code
        self._tests = list(tests)
        self._noticed: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def noticed(self, module: str, test: str) -> None:
        """Remember that a test noticed a mutant of a module: it is likely to notice another one."""
        self._noticed[module][test] += 1

    def order(self, module: str, line: int, first: Sequence[str]) -> list[Timed]:
        """Return the tests that reach a line, those first that are likely to notice and quick.

        After the tests that noticed other mutants of the module come those of each file or folder of ``first``,
        within a folder one of each file in turn.
        """
        places = self._code.places(module, line)
        found = [one for one in self._tests if one.reached & places]
        if not places:
            found = [one for one in self._tests if any(p.startswith(f"{module}:") for p in one.reached)]
        noticed = self._noticed[module]
        turns: dict[str, int] = defaultdict(int)
        ranked = []
        for one in sorted(found, key=lambda one: one.seconds):
            likely = next((n for n, name in enumerate(first) if one.name.startswith(name)), len(first))
            ranked.append(((-noticed.get(one.name, 0), likely, turns[one.file], one.seconds), one))
            turns[one.file] += 1
        return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]


class Kept:
    """What was measured of test files, kept until a file, or a mutated module that it reaches, changes."""

    def __init__(self, path: Path, code: Code) -> None:
        self._path = path
        self._modules = {name: _digest(text) for name, text in code.modules.items()}
        self._files = json.loads(path.read_text()) if path.exists() else {}

    def of(self, root: Path, file: str) -> list[Timed] | None:
        """Return the tests of a file as they were measured; None where that has to be done."""
        kept = self._files.get(file)
        if kept is None or kept["digest"] != _digest((root / file).read_text()):
            return None
        if any(self._modules.get(name) != digest for name, digest in kept["modules"].items()):
            return None
        if not self._modules.keys() <= set(kept["noted"]):
            # Whether it reaches a module that became a target since is not known.
            return None
        return [Timed(name, seconds, frozenset(reached)) for name, seconds, reached in kept["tests"]]

    def keep(self, root: Path, file: str, tests: Sequence[Timed]) -> None:
        """Store what was measured of a file."""
        modules = {place.split(":")[0] for one in tests for place in one.reached}
        self._files[file] = {
            "digest": _digest((root / file).read_text()),
            "noted": sorted(self._modules),
            "modules": {name: self._modules[name] for name in sorted(modules)},
            "tests": [(one.name, one.seconds, sorted(one.reached)) for one in tests],
        }
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._files))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
