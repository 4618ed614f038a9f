"""References to video with requests, and a check that the link is no private address: kling-o3-image-to-video with image_urls."""

import ipaddress
import os
import socket
import sys
import time
from urllib.parse import urlsplit

import requests

API = "https://api.evolink.ai/v1"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['EVOLINK_API_KEY']}"

body = {
    "model": "kling-o3-image-to-video",
    "prompt": "In the style of <<<image_1>>>",
    "image_urls": ["https://image.test/640x640.png"],
    "aspect_ratio": "1:1",
    "duration": 4,
}
answer = session.post(f"{API}/videos/generations", json=body, timeout=60)
answer.raise_for_status()
task = answer.json()
for _ in range(200):
    if task["status"] in ("completed", "failed"):
        break
    time.sleep(float(os.environ.get("POLL", "1")))
    task = session.get(f"{API}/tasks/{task['id']}", timeout=60).json()
if task["status"] != "completed":
    sys.exit(str(task.get("error")))
link = task["results"][0]
for info in socket.getaddrinfo(urlsplit(link).hostname, 443):
    if not ipaddress.ip_address(info[4][0]).is_global:
        sys.exit(f"refused a private address: {info[4][0]}")
video = requests.get(link, timeout=60)
video.raise_for_status()
with open(sys.argv[1], "wb") as out:
    out.write(video.content)
