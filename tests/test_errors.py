"""Errors say what, where and what next, and survive being carried between processes."""

from __future__ import annotations

import pickle

import pytest

from enerflo_sync.enerflo.failures import AuthenticationError, OutcomeUnknownError
from enerflo_sync.errors import BadRecordError, ConfigurationError, EnerfloSyncError, RetriableError


def test_an_error_reads_as_place_fact_and_advice() -> None:
    error = ConfigurationError("the port is in use.", where="demo", next_step="Choose another.")
    assert str(error) == "demo: the port is in use. Choose another."


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("what", where="where", next_step="next"),
        RetriableError("what", where="where", retry_after=4.5),
        BadRecordError("what", field="a.b"),
        AuthenticationError("what", status=401),
        OutcomeUnknownError("what", retry_after=None),
    ],
)
def test_an_error_survives_a_pickle(error: EnerfloSyncError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__
