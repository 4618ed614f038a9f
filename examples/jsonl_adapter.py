"""The reference client over JSON lines: `kling-contract client --adapter jsonl -- python examples/jsonl_adapter.py`.

One process for all stories, so nothing has to be started over and over. An adapter in another language is the same loop: answer
`hello`, carry out each `run` and say `done`, end at `stop`. Standard output carries messages only.
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from kling_client import Client, KlingError, PollPolicy, Receiver
from kling_client.listener import listening

AT_ONCE = 32
LINGER = 1.0
"""Seconds for which late callbacks are still received."""
_writing = threading.Lock()


def say(**message: Any) -> None:
    """One line."""
    with _writing:
        print(json.dumps(message), flush=True)


def generate(order: dict[str, Any]) -> dict[str, Any]:
    """One request of the user, callbacks included; what `done` is to say."""
    asked = dict(order["request"])
    image, hook = asked.pop("image_start"), urlsplit(asked.get("callback_url", ""))
    wishes = {name: asked.pop(name, None) for name in ("prompt", "quality", "duration", "callback_url")}
    policy = PollPolicy(min_poll=order["min_poll_s"], deadline=order["deadline_s"])
    receiver = Receiver(path=hook.path or "/")
    try:
        client = Client(order["api_key"], order["base_url"], poll=policy)
        with listening(receiver, int(order["webhook"]["listen"].rpartition(":")[2])) as port:
            say(op="note", case=order["case"], listening=f"http://127.0.0.1:{port}{hook.path}")
            try:
                video = client.generate(image, order["save_to"], receiver=receiver, extra=asked, **wishes)
            finally:
                time.sleep(LINGER)  # noqa: TID251 - a client waits
    except KlingError as error:
        return {"outcome": error.outcome, "task_id": getattr(error, "task_id", None), "error": error.facts()}
    finally:
        receiver.close()
    return {"outcome": "completed", "task_id": video.task.id, "effects": len(video.paths)}


def work(order: dict[str, Any]) -> None:
    """Carry out one case."""
    say(op="done", case=order["case"], **generate(order))


def main() -> None:
    """The loop."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in sys.stdin:
            message = json.loads(line)
            if message["op"] == "hello":
                can = ["poll", "download", "webhook", "resume"]
                say(op="hello", protocol=1, client={"name": "kling", "language": "python"}, can=can, parallel=AT_ONCE)
            elif message["op"] == "run":
                pool.submit(work, message)
            elif message["op"] == "stop":
                break


if __name__ == "__main__":
    main()
