"""The column of installs that sync.yaml declares while the day goes on: what stands at its path, and what must hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import render
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.state import InstallState
from enerflo_sandbox.truth import InstallRow, Truth
from enerflo_sandbox.world import World
from tests.simulation.divergence import Divergence

COLUMN = "lender"
# The column is read from the first path until somebody writes the second one into sync.yaml.
PATHS = ("loan.lender", "utility.company")
MAX_LENGTH = 40
_ODD: tuple[Any, ...] = (
    *({"lender": None}, {"lender": ""}, {"lender": {"name": "GoodLeap"}}, {"lender": ["GoodLeap"]}, {}, []),
    *({"lender": True}, {"lender": 17}, {"lender": "L" * (MAX_LENGTH + 1)}),
)

LentRow = NamedTuple("LentRow", [*((name, Any) for name in InstallRow._fields), (COLUMN, Any)])  # type: ignore[misc]


def kept(said: Any) -> str | None:
    """Return what a column of type text keeps of what Enerflo says at its path, written down a second time."""
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        return None
    text = str(said)
    return text if 0 < len(text) <= MAX_LENGTH else None


class _LendingTruth(Truth):
    """The company's truth, with what the declared column should have."""

    def install_row(self, state: InstallState) -> Any:
        world = self._world
        assert isinstance(world, LendingWorld)
        return LentRow(*super().install_row(state), world.lender_of(state.number))


class LendingWorld(World):
    """A company whose installs get other lenders and utilities, now and then of another type or none at all.

    :ivar path: where sync.yaml says that the column stands; None until the column is declared.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        self._said: dict[int, tuple[Any, Any]] = {}
        self.path: str | None = None
        super().__init__(*args, **named)
        self.truth = _LendingTruth(self)

    def lend(self, install_id: int, loan: Any, utility: Any) -> None:
        """Let an install say something else at both paths, which is told as any update of an install."""
        with self.lock:
            state = self._edit(install_id)
            self._said[state.number] = (loan, utility)
            self._touch(state)
            status = self.status_name(state.status_id)
            detail = {"status_before": status, "status": status, "status_id": state.status_id}
            self._log(ChangeKind.STATUS_CHANGED, state, detail=detail)

    def lender_of(self, number: int) -> str | None:
        """Return what the declared column should have of an install; None before the declaration."""
        if self.path is None:
            return None
        found = self._says(number)[PATHS.index(self.path)]
        _, name = self.path.split(".")
        return kept(found.get(name)) if isinstance(found, dict) else None

    def _says(self, number: int) -> tuple[Any, Any]:
        usual = (
            {"lender": c.LENDERS[number % len(c.LENDERS)]},
            {"id": 53, "company": c.UTILITIES[number % len(c.UTILITIES)]},
        )
        return self._said.get(number, usual)

    def _render(self, number: int) -> bytes:
        rendered = super()._render(number)
        if number not in self._said or number in self.bad:
            return rendered
        record = msgspec.json.decode(rendered)
        record["loan"], record["utility"] = self._said[number]
        return render.encode(record)


class Lending:
    """Lets installs get other lenders by seed, at the rate of the trouble."""

    def __init__(self, world: LendingWorld, seed: int, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._rng = random.Random(f"{seed}/lenders")

    def now_and_then(self) -> None:
        """Let an install get another lender, or none."""
        rng = self._rng
        if rng.random() >= self._rate:
            return
        installs = self._world.installs
        (number,) = installs.page(rng.randrange(len(installs)), 1) if len(installs) else (None,)
        odd, n = rng.random() < 0.3, rng.randrange(1000)
        loan = rng.choice(_ODD) if odd else {"lender": f"Lender {n}"}
        utility = {"id": 53, "company": f"Utility {n}"} if rng.random() < 0.8 else []
        if number is not None:
            self._world.lend(self._world.install_id(number), loan, utility)


_FILLED = """
select i.install_id, to_jsonb(i) ->> d.column_name, v.raw #> d.path from sync.declared_columns d
join enerflo.installs i on i.account = d.account and i.deleted_at is null
join enerflo.install_versions v on (v.account, v.install_id, v.content_hash) = (i.account, i.install_id, i.content_hash)
where d.column_name = %s and d.filled_at is not null order by 1
"""
_SEEN = "select install_id, updated_at, deleted_at from enerflo.installs"


class FilledColumn:
    """Looks at the mirror after each job: a column that counts as filled says what its row's own content says.

    :param lists_lag: a list may lack what Enerflo has, so that a poll need not bring it.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], world: LendingWorld, *, lists_lag: bool = False
    ) -> None:
        self._connection = connection
        self._world = world
        self._lists_lag = lists_lag

    def wrong(self) -> Iterator[str]:
        """Yield what is wrong, in words."""
        for install_id, found, said in self._connection.execute(_FILLED, [COLUMN]).fetchall():
            if found != kept(said):
                yield f"install {install_id}: {COLUMN} is {found!r}, and its own content says {said!r}"

    def there_is(self) -> dict[int, datetime]:
        """Return the installs that a poll which begins now has to bring, each with its time of change."""
        if self._lists_lag:
            return {}
        return {row.install_id: row.updated_at for row in self._world.truth.installs()}

    def has_brought(self, before: dict[int, datetime]) -> None:
        """Return where a poll that ended well has brought what Enerflo had when it began.

        :raises Divergence: it has not.
        """
        seen = {row[0]: row[1:] for row in self._connection.execute(_SEEN).fetchall()}
        for install_id in before.keys() & self.there_is().keys():
            at, deleted_at = seen.get(install_id, (None, None))
            if deleted_at is None and (at is None or at < before[install_id]):
                raise Divergence(
                    f"install {install_id}: a poll ended well, and the mirror has it as of {at}. When the poll"
                    f" began, Enerflo had it as of {before[install_id]}"
                )
