"""Another company of the vendor, for which a key answers all of a sudden: its ids are nobody's here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.world import World

# Enerflo numbers the records of all its companies together, so two companies share no id.
ID_SHIFT = 50_000_000
_IDS = re.compile(rb'("(?:[a-z_]+_)?id":)(\d+)')
_PATH_IDS = re.compile(r"(?<=/)\d+(?=/|$)")


class OtherCompany:
    """Answers a request as another company would that has the same size and other records.

    :param world: its records; its ids are shown ``ID_SHIFT`` higher, those of the company too.
    :param answer: carries a request out in ``world``, and knows nothing of the shift.
    """

    def __init__(self, world: World, answer: Callable[[Request, str, str], Response]) -> None:
        self.world = world
        self._answer = answer

    def answer(self, request: Request, path: str, key: str) -> Response:
        """Return the answer to a request; an id of the first company gets 404 as any unknown one does."""
        here = _PATH_IDS.sub(lambda id_: str(max(0, int(id_[0]) - ID_SHIFT)), path)
        answer = self._answer(replace(request, path=here), here, key)
        body = _IDS.sub(lambda found: found[1] + b"%d" % (int(found[2]) + ID_SHIFT), answer.body)
        return replace(answer, body=body)
