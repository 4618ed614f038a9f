"""Text to video with the standard library, in the manner of a notebook cell: kling-v3-text-to-video, the address built in."""

import json
import os
import sys
import time
import urllib.request

API = "https://api.evolink.ai/v1"
KEY = os.environ["EVOLINK_API_KEY"]


def call(path, body=None):
    """One call of the API."""
    data = json.dumps(body).encode() if body else None
    head = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(API + path, data, head), timeout=60) as answer:
        return json.load(answer)


task = call(
    "/videos/generations", {"model": "kling-v3-text-to-video", "prompt": "A cat", "aspect_ratio": "9:16", "sound": "on"}
)
while task["status"] not in ("completed", "failed"):
    time.sleep(float(os.environ.get("POLL", "1")))
    task = call(f"/tasks/{task['id']}")
if task["status"] == "failed":
    sys.exit(f"{task['error']['code']}: {task['error']['message']}")
with urllib.request.urlopen(task["results"][0], timeout=60) as video, open(sys.argv[1], "wb") as out:
    out.write(video.read())
