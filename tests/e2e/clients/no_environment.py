"""First and last frame with a session that takes nothing from the environment, and a streamed download: kling-o1-image-to-video."""

import os
import sys
import time
from pathlib import Path

import requests

API = "https://api.evolink.ai"


class Kling:
    """A small client of its own."""

    def __init__(self, key: str) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Authorization": f"Bearer {key}", "User-Agent": "kling-one/0.3"})

    def generate(self, **body: object) -> dict:
        """Create and wait."""
        made = self.session.post(f"{API}/v1/videos/generations", json=body, timeout=(5, 30))
        made.raise_for_status()
        task, deadline = made.json(), time.monotonic() + 120
        while task["status"] not in ("completed", "failed") and time.monotonic() < deadline:
            time.sleep(float(os.environ.get("POLL", "1")))
            task = self.session.get(f"{API}/v1/tasks/{task['id']}", timeout=(5, 30)).json()
        return task

    def save(self, url: str, path: Path) -> None:
        """Stream to a part file, then rename."""
        part = path.with_suffix(".part")
        with requests.Session() as plain:
            plain.trust_env = False
            with plain.get(url, stream=True, timeout=(5, 60)) as answer, part.open("wb") as out:
                answer.raise_for_status()
                for chunk in answer.iter_content(1 << 16):
                    out.write(chunk)
        part.rename(path)


client = Kling(os.environ["EVOLINK_API_KEY"])
done = client.generate(
    model="kling-o1-image-to-video",
    prompt="The day turns into night",
    image_urls=["https://image.test/1280x720.jpg", "https://image.test/1280x720.png"],
    duration=5,
)
if done["status"] != "completed":
    sys.exit(f"{done['id']}: {done.get('error')}")
client.save(done["results"][0], Path(sys.argv[1]))
