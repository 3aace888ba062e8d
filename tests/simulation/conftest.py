from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.database import Database


@pytest.fixture(scope="package")
def database(postgres_url: str) -> Iterator[Database]:
    """One database for all seeds of this package, emptied for each."""
    made = Database(postgres_url, "test_simulation")
    # The engine reports each fault that it meets, as it should; here they are met by the thousand.
    logging.disable(logging.CRITICAL)
    yield made
    logging.disable(logging.NOTSET)
    made.close()
