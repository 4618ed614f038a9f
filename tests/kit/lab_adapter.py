"""A client adapter over JSON lines, as small as one can be; its first argument says how it misbehaves."""

import json
import sys
import threading
import time
import urllib.error
import urllib.request


def say(**message):
    print(json.dumps(message), flush=True)


def call(order, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {order['api_key']}", "Content-Type": "application/json"}
    request = urllib.request.Request(order["base_url"] + path, data, headers, method=method)
    return json.load(urllib.request.urlopen(request, timeout=5))


def generate(order):
    task = call(order, "POST", "/v1/videos/generations", {"model": "kling-v3-turbo-image-to-video", **order["request"]})
    for _ in range(50):
        if task["status"] in ("completed", "failed"):
            break
        time.sleep(0.2)  # noqa: TID251 - a client waits
        task = call(order, "GET", f"/v1/tasks/{task['id']}")
    if task["status"] == "completed":
        urllib.request.urlretrieve(task["results"][0], order["save_to"])
    return {"outcome": task["status"], "task_id": task["id"], "effects": 1, "error": task.get("error")}


def work(order, how):
    if how == "skip":
        return say(op="skip", case=order["case"], why="not today")
    if how == "never":
        return None
    if how == "odd-outcome":
        return say(op="done", case=order["case"], outcome="splendid")
    if how == "stranger":
        return say(op="done", case="nobody", outcome="completed")
    if how == "leak":
        print("using", order["api_key"], file=sys.stderr, flush=True)
    if how in ("real", "note"):
        try:
            return say(op="done", case=order["case"], **generate(order))
        except urllib.error.HTTPError as error:
            return say(
                op="done", case=order["case"], outcome="refused", error={"class": "other", "message": str(error)}
            )
    if how == "tells-pause":
        return say(op="done", case=order["case"], outcome="completed", error={"message": str(order["min_poll_s"])})
    return say(op="done", case=order["case"], outcome="completed", task_id="task-unified-1-aaaaaaaa", more="ignored")


how = sys.argv[1]
odd = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
if how == "mute":
    sys.exit("no words")
for line in sys.stdin:
    message = json.loads(line)
    if message["op"] == "hello":
        mine = {"client": {"name": "small"}, "can": ["poll", "download"], "parallel": 4, "min_poll_s": 0.2}
        say(op="hello", protocol=1, **{**mine, **odd})
    elif message["op"] == "stop":
        break
    elif how == "echo":
        print(line, end="", flush=True)
    elif how == "crash":
        sys.exit(3)
    elif how == "garbage":
        print("progress: 10%", flush=True)
    else:
        threading.Thread(target=work, args=(message, how), daemon=True).start()
