"""The calls that need no I/O, by what is special about each: what `microseconds.py` takes apart and `paths.py` loads."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
from load import CREATE, QUERY, Call

from kling_mock.media.images import Drawing, draw

OWN = "https://cdn.example.com/first.jpg"
"""An image that nothing here draws or serves: taken unseen under --images offline."""
RELAYED, LITERAL = "https://hooks.example.com", "https://1.1.1.1"
SETTINGS = {"images": "offline", "relays": {RELAYED: "http://127.0.0.1:9"}}
"""What a fake is started with, so that each of the calls needs no I/O."""


def upload() -> Call:
    """Return the upload of a picture."""
    picture = b64encode(draw(Drawing(1280, 720, "png")).data).decode()
    return Call("POST", "/api/v1/files/upload/base64", orjson.dumps({"base64_data": picture}))


def created(body: Mapping[str, Any], **more: Any) -> Call:
    """Return a create of *body* with *more* in it."""
    return Call("POST", CREATE, orjson.dumps({**body, **more}))


def every(body: Mapping[str, Any], *, file: str, task: str) -> dict[str, Call]:
    """Return every call that needs no I/O; *file* is the URL of an upload, *task* the id of a task."""
    own = created(body, image_start=OWN)
    return {
        "create: image drawn by the fake": created(body),
        "create: --images offline, any URL": own,
        "create: uploaded image, judged before": created(body, image_start=file),
        "create: callback to a relay": created(body, image_start=OWN, callback_url=f"{RELAYED}/kling"),
        "create: callback to an IP literal": created(body, image_start=OWN, callback_url=f"{LITERAL}/kling"),
        "create: Idempotency-Key": replace(own, numbered="idempotency-key"),
        "create: Idempotency-Key, repeated": replace(own, headers={"idempotency-key": "benchmark-the-same"}),
        "query": Call("GET", QUERY + task),
        "list, a page of 20": Call("GET", "/v1/tasks?page_size=20"),
        "batch of 10": Call("POST", "/v1/tasks/batch", orjson.dumps({"task_ids": [task] * 10})),
        "credits": Call("GET", "/v1/credits"),
    }
