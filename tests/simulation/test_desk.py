"""One seed picks the same rows, wherever the server keeps them."""

from __future__ import annotations

import random

import psycopg

from enerflo_sync.clock import SystemClock
from tests.simulation.desk import Desk


def test_a_row_that_is_picked_by_its_place_is_the_same_wherever_it_stands(empty_warehouse_url: str) -> None:
    with psycopg.connect(empty_warehouse_url.replace("+psycopg", ""), autocommit=True) as connection:
        desk = Desk(connection, connection, SystemClock(), random.Random(0))
        desk.run("create schema crm")
        desk.run("create table crm.things as select n, 'same' as word from generate_series(1, 20) n")

        def picked() -> list[int]:
            desk._rng.seed(7)
            return [
                desk.run("select n from crm.things where ctid = %(place)s::tid", place=place)[0][0]
                for _ in range(5)
                for (place,) in [desk.some("things", "ctid::text", "word = 'same'")]
            ]

        before = picked()
        # The rows go to other places, in another order.
        desk.run("update crm.things set word = 'same' where mod(n, 3) = 0")
        desk.run("update crm.things set word = 'same' where mod(n, 2) = 0")
        assert picked() == before
