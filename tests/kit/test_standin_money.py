"""Money of the stand-in: reserved, settled, refunded, never overdrawn, and once for one Idempotency-Key."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from standin import StandIn
from standin_calls import FAST, call, create, finished
from standin_gallery import gallery


def test_money_is_reserved_settled_and_refunded(tmp_path: Path) -> None:
    """Every credit that moves stands in the ledger file, and the balance agrees with it and with /v1/credits."""
    ledger = tmp_path / "ledger.jsonl"
    with StandIn(**FAST, tags=True, credits=100, price_1080p=0.1, ledger=ledger) as server:
        good = create(server, duration=3).json["id"]
        assert call(server, "GET", "/v1/credits").json["data"]["token"] == {
            "remaining_credits": 70,
            "used_credits": 0,
            "unlimited_credits": False,
        }
        bad = create(server, duration=3, quality="1080p", prompt="[[failed code=service_error at=40]]").json["id"]
        assert create(server, duration=15).error == (402, "insufficient_quota", None)
        assert create(server, duration=16).status == 400
        assert create(server, key="sk-nobody").status == 401
        finished(server, good)
        failed = finished(server, bad)
        assert (failed["progress"], failed["usage"]["credits_used"], "results" in failed) == (40, 0, False)
        assert failed["error"]["type"] == "task_error"
        assert call(server, "GET", "/v1/credits").json["data"]["user"] == {"remaining_credits": 70, "used_credits": 30}
        rows = server.ledger_rows()
    assert [json.loads(line) for line in ledger.read_text().splitlines()] == rows
    assert [
        (row["event"], row["key"], row["credits_reserved"], row["credits_settled"], row["credits_refunded"])
        for row in rows
    ] == [
        ("accepted", "sk-a", 30, 0, 0),
        ("accepted", "sk-a", 0.3, 0, 0),
        ("refused", "sk-a", 0, 0, 0),
        ("refused", "sk-a", 0, 0, 0),
        ("refused", None, 0, 0, 0),
        ("settled", "sk-a", 0, 30, 0),
        ("refunded", "sk-a", 0, 0, 0.3),
    ]
    assert [row["balance_after"] for row in rows] == [70, 69.7, 69.7, 69.7, None, 69.7, 70]


def test_creates_at_once_never_overdraw() -> None:
    """24 creates at once with credits for 5 are 5 tasks with 5 ids, and 19 times 402."""
    with StandIn(queue=60, credits=150) as server, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: create(server), range(24)))
        assert sorted(each.status for each in answers) == [200] * 5 + [402] * 19
        assert len({each.json["id"] for each in answers if each.status == 200}) == 5
        assert server.balance("sk-a") == 0


def test_idempotency_key() -> None:
    """Same key and body: one task, one charge, a header that says so; another body is 409; off means ignored."""
    name = {"Idempotency-Key": "k" * 16}
    together = threading.Barrier(8)  # all eight are past the first look for the key before any is accepted

    def meet(_host: str) -> list[str]:
        together.wait(5)
        return ["127.0.0.1"]

    with gallery() as images, StandIn(queue=60, lookup=meet) as server, ThreadPoolExecutor(8) as pool:
        image = f"http://frames.example.com:{urlsplit(images).port}/good/baseline"
        answers = list(pool.map(lambda _: create(server, headers=name, image_start=image), range(8)))
        assert len({each.raw for each in answers}) == 1
        assert sum(each.headers["idempotency-replayed"] == "true" for each in answers) == 7
        assert server.balance("sk-a") == 1_000_000 - 30
        assert create(server, headers=name, duration=4).error == (409, "idempotency_conflict", "Idempotency-Key")
        assert create(server, headers={"Idempotency-Key": "short"}).error[2] == "Idempotency-Key"
        assert create(server, "sk-b", headers=name).headers["idempotency-replayed"] is None
    with StandIn(queue=60, idempotency="off") as server:
        assert create(server, headers=name).json["id"] != create(server, headers=name).json["id"]
