"""A store that goes away: documented errors meanwhile, nothing half-written, and it comes back by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from sqlalchemy import update

from kling_mock.app import create_app
from kling_mock.config import BadSetting
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.tables import meta


@pytest.mark.e2e
def test_a_database_that_is_away_for_a_while(process: Callable[..., Any]) -> None:
    """503 on the service's calls, store_down in the control protocol, not ready; afterwards everything is as it was."""
    with Cluster(durable=True) as cluster:
        fake = process(cluster.database())
        _, made = fake.create()
        cluster.stop()
        assert fake.call("GET", f"/v1/tasks/{made['id']}")[0] == 503
        status, body = fake.create()
        assert (status, body["error"]["code"]) == (503, "service_unavailable")
        status, body = fake.call("GET", "/__mock/ready", key=None)
        assert (status, body["error"]["code"]) == (503, "store_down")
        assert fake.call("GET", "/__mock/health", key=None)[0] == 200
        assert fake.call("GET", "/v1/nonsense")[0] == 503
        cluster.start()
        assert fake.call("GET", f"/v1/tasks/{made['id']}")[0] == 200
        assert len(fake.control("GET", "/tasks")["tasks"]) == 1
        assert fake.control("GET", "/accounts")["accounts"][0]["credits"] == 10**9 - 36
        fake.close()


BAD = [
    ("redis://localhost/0", "not a store"),
    ("nonsense", "not a store"),
    ("sqlite://", "needs a file"),
    ("sqlite:////nonexistent/folder/k.db", "unable to open database file"),
    ("postgresql://kling@127.0.0.1:1/kling", "refused"),
]


@pytest.mark.parametrize(("store", "words"), BAD)
def test_a_store_that_cannot_be_used_is_one_line(store: str, words: str) -> None:
    """It names the option and what is wrong."""
    with pytest.raises(BadSetting) as refused:
        create_app(store=store)

    assert words in str(refused.value)
    assert str(refused.value).startswith("--store")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Nothing is written into it."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but quite long enough to be taken for one " * 20)
    before = file.read_bytes()
    with pytest.raises(BadSetting, match="not a database"):
        create_app(store=f"sqlite:///{file}")

    assert file.read_bytes() == before


def test_another_schema_is_refused(url: str, process: Callable[..., Any]) -> None:
    """With both versions, and what to do."""
    process(url).close()
    database = Database(url)
    with database.writing() as connection:
        connection.execute(update(meta).where(meta.c.name == "version").values(value="0"))
    database.close()
    with pytest.raises(BadSetting, match="its schema is version 0, this kling-mock needs"):
        create_app(store=url)
