"""Control calls at the same moment: a clock that is set, reset and advanced by several callers at once never fails inside."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

KEYS = ("sk-a", "sk-b", None)


@pytest.mark.parametrize("seed", range(3))
def test_clocks_may_be_moved_by_many_at_once(make: Callable[..., Any], seed: int) -> None:
    """Each call gets 200, or 409 where the clock runs by itself just then."""
    rig = make()
    statuses: list[int] = []
    begin = threading.Barrier(6)

    def caller(number: int) -> None:
        client = rig.app.test_client()
        begin.wait()
        for step in range(25):
            key = KEYS[(number + step + seed) % 3]
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            calls: list[tuple[str, str, Any]] = [
                ("POST", "/__mock/clock/advance", {"seconds": 30}),
                ("PUT", "/__mock/clock", {"mode": "manual"}),
                ("POST", "/__mock/reset", None),
                ("PUT", "/__mock/clock", {"mode": "scaled", "rate": 60}),
                (
                    "POST",
                    "/v1/videos/generations",
                    {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x480.png"},
                ),
            ]
            method, path, body = calls[(number * 7 + step) % len(calls)]
            if path.startswith("/v1") and key is None:
                continue
            statuses.append(client.open(path, method=method, headers=headers, json=body).status_code)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert set(statuses) <= {200, 409}
    assert len(statuses) > 100
