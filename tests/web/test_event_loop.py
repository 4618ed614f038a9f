"""The calls that the edge serves on the event loop: the same responses as through Flask, and Flask is never asked."""

import asyncio
from typing import Any

import orjson
import pytest
from connected import Client

from kling_mock.app import build
from kling_mock.config import settings
from kling_mock.serving.edge import Edge

MODEL = "kling-v3-turbo-image-to-video"
BODY = {"model": MODEL, "image_start": "https://cdn.example.com/first.jpg"}


def never(fake: Any) -> Any:
    """Stand in for Flask where it must not be asked."""
    raise AssertionError("the Flask application was made")


def called(edge: Edge, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of one call."""
    raw = b"" if body is None else orjson.dumps(body)
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:4010\r\nAuthorization: Bearer sk-test\r\nContent-Length: {len(raw)}\r\n\r\n"

    async def run() -> Client:
        client = Client(edge)
        client.send(head.encode() + raw)
        while not client.said:
            await asyncio.sleep(0)
        return client

    client = asyncio.run(run())
    return client.statuses[0], orjson.loads(client.said.partition(b"\r\n\r\n")[2])


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Edge:
    """The edge over a fake whose Flask application must not be made."""
    monkeypatch.setattr("kling_mock.web.flask_app.flask_app", never)
    return Edge(build(settings(images="offline", clock="manual", start=1_757_169_743)))


@pytest.mark.parametrize("target", ["/v1/tasks", "/v1/tasks?status=processing", f"/v1/tasks?model={MODEL}&page_size=1"])
def test_a_list_is_served_without_flask(edge: Edge, target: str) -> None:
    """With a filter and without."""
    task_id = called(edge, "POST", "/v1/videos/generations", BODY)[1]["id"]

    status, page = called(edge, "GET", target)

    assert (status, page["total"], [row["id"] for row in page["data"]]) == (200, 1, [task_id])


def test_pages_beyond_the_first_are_the_older_tasks(edge: Edge) -> None:
    """The total counts all of them, past the end there are none."""
    made = [called(edge, "POST", "/v1/videos/generations", BODY)[1]["id"] for _ in range(5)]
    pages = [called(edge, "GET", f"/v1/tasks?page={number}&page_size=2")[1] for number in (1, 2, 3, 4)]

    assert [row["id"] for page in pages for row in page["data"]] == made[::-1]
    assert [page["total"] for page in pages] == [5] * 4


def test_calls_about_an_account_are_served_without_flask(edge: Edge) -> None:
    """A batch, the balance, the models, an upload token; and the checks of health."""
    task_id = called(edge, "POST", "/v1/videos/generations", BODY)[1]["id"]

    assert called(edge, "GET", f"/v1/tasks/{task_id}")[1]["id"] == task_id
    assert called(edge, "POST", "/v1/tasks/batch", {"task_ids": [task_id]})[1]["data"][0]["id"] == task_id
    assert called(edge, "GET", "/v1/credits")[1]["success"] is True
    assert MODEL in [it["id"] for it in called(edge, "GET", "/v1/models")[1]["data"]]
    assert called(edge, "POST", "/v1/files/upload-token")[0] == 200
    assert called(edge, "GET", "/__mock/health") == (200, {"status": "ok"})
    assert called(edge, "GET", "/__mock/ready") == (200, {"status": "ok"})


def test_a_wrong_query_is_the_documented_error(edge: Edge) -> None:
    """As everywhere."""
    status, body = called(edge, "GET", "/v1/tasks?page=0")

    assert (status, body["error"]["param"]) == (400, "page")


def test_control_calls_about_one_task_are_served_without_flask(edge: Edge) -> None:
    """A literal path goes before a template that it fits; what is no call at all goes on."""
    task_id = called(edge, "POST", "/v1/videos/generations", BODY)[1]["id"]

    assert called(edge, "GET", f"/__mock/tasks/{task_id}")[1]["deliveries"] == []
    assert called(edge, "POST", f"/__mock/tasks/{task_id}/cancel")[0] == 200
    assert called(edge, "POST", "/__mock/tasks/none/cancel")[1]["error"]["code"] == "unknown_task"
    find = edge._fake.control.protocol.find
    assert find("GET", "/__mock/tasks") == ("listTasks", {})
    assert find("GET", "/__mock/tasks/") is None
    assert find("PUT", f"/__mock/tasks/{task_id}") is None
    assert find("POST", "/__mock/deliveries/d/resend") == ("resendDelivery", {"delivery_id": "d"})
