"""PostgreSQL whose disk is full: the documented 503, nothing half-written, and it goes on by itself once there is room."""

from collections.abc import Callable
from typing import Any

import pytest
from cluster import Cluster
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kling_mock.store.sql.database import Database

SEGMENT = 1 << 20
COST = 36
_FILL = """
    INSERT INTO kling_tasks (account_id, number, id, created_at, due, reads, settled, facts)
    SELECT account_id, 1000000 + n, 'filler-' || n, created_at, NULL, 0, true, facts
    FROM (SELECT * FROM kling_tasks ORDER BY number LIMIT 1) AS first, generate_series(CAST(:start AS INTEGER), CAST(:end AS INTEGER)) AS n
"""


@pytest.mark.e2e
def test_postgresql_may_not_grow_for_a_while(process: Callable[..., Any]) -> None:
    """A table that has reached the limit takes no task: 503, no credit spent; afterwards everything goes on and adds up."""
    with Cluster(durable=True, segment_megabytes=1) as cluster:
        url = cluster.database()
        fake = process(url)
        made = [fake.create()[1]["id"]]
        cluster.limit(SEGMENT)
        _fill(url)

        for _ in range(500):  # rows that were given up leave a little room
            status, body = fake.create()
            if status == 503:
                break
            made.append(body["id"])
        assert (status, body["error"]["code"]) == (503, "service_unavailable")
        assert fake.call("GET", "/__mock/ready", key=None)[0] == 200
        assert fake.control("GET", "/accounts")["accounts"][0]["credits"] == 10**9 - COST * len(made)

        cluster.limit(None)
        made.append(fake.create()[1]["id"])
        assert fake.call("GET", f"/v1/tasks/{made[0]}")[0] == 200
        assert {task["id"] for task in fake.control("GET", "/tasks")["tasks"]} == set(
            made
        )  # copies show the first's id
        assert fake.control("GET", "/accounts")["accounts"][0]["credits"] == 10**9 - COST * len(made)
        fake.close()


def _fill(url: str) -> None:
    """Copy the first task until the table has no place for another one."""
    database, start, step = Database(url), 0, 256
    with database.engine.connect() as connection:
        while step:
            try:
                connection.execute(text(_FILL), {"start": start, "end": start + step - 1})
                start += step
            except DBAPIError:
                step //= 2
    database.close()
