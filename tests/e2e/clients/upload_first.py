"""Uploads its picture through the files API first: kling-o1-image-to-video, first frame from a link of the file host."""

import os
import sys
import time

import requests

KEY = {"Authorization": f"Bearer {os.environ['EVOLINK_API_KEY']}"}
PIXEL = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
stored = requests.post(
    "https://files-api.evolink.ai/api/v1/files/upload/base64",
    json={"base64_data": f"data:image/gif;base64,{PIXEL}", "fileName": "frame.gif", "uploadPath": "frames"},
    headers=KEY,
    timeout=60,
)
stored.raise_for_status()
assert stored.json()["success"], stored.text
body = {
    "model": "kling-o1-image-to-video",
    "prompt": "It moves",
    "image_urls": ["https://image.test/1280x720.jpg"],
    "duration": 10,
}
task = requests.post("https://api.evolink.ai/v1/videos/generations", json=body, headers=KEY, timeout=60).json()
while task.get("status") in ("pending", "processing"):
    time.sleep(float(os.environ.get("POLL", "1")))
    task = requests.get(f"https://api.evolink.ai/v1/tasks/{task['id']}", headers=KEY, timeout=60).json()
if task.get("status") != "completed":
    sys.exit(str(task.get("error")))
with open(sys.argv[1], "wb") as out:
    out.write(requests.get(task["results"][0], timeout=60).content)
