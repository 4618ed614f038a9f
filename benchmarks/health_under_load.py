"""How long `/__mock/health` takes while 500 connections idle, 100 clients wait, 50 upload slowly and 20 images are judged.

.venv/bin/python benchmarks/health_under_load.py
"""

import io
import random
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests
from PIL import Image

from kling_mock.serving.process import Running

KEY = {"Authorization": "Bearer sk-load"}
CREATE = "/v1/videos/generations"
MODEL = "kling-v3-turbo-image-to-video"


def noise(number: int) -> bytes:
    """A PNG of 4 megapixels that no cache has seen."""
    picture = Image.frombytes("L", (2000, 2000), random.Random(number).randbytes(4_000_000))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def memory(fake: Running) -> str:
    """What the server uses now and used at most, in MiB."""
    text = Path(f"/proc/{fake.pid}/status").read_text(encoding="utf-8")
    now, most = (int(re.search(rf"{name}:\s+(\d+)", text)[1]) // 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return f"{now} MiB now, {most} MiB at most"


def main() -> None:
    """Load one fake in every way at once, and print what health took."""
    with Running(["--clock", "manual"]) as fake:
        port = urlsplit(fake.url).port
        over = threading.Event()
        print("at the start:", memory(fake))
        body = {"model": MODEL, "image_start": "https://image.test/640x480.png"}
        task_id = requests.post(fake.url + CREATE, headers=KEY, json=body, timeout=60).json()["id"]
        uploaded = []
        for number in range(20):
            files = {"file": (f"{number}.png", noise(number))}
            answer = requests.post(f"{fake.url}/api/v1/files/upload/stream", headers=KEY, files=files, timeout=120)
            uploaded.append(answer.json()["data"]["file_url"])

        def wait() -> None:
            requests.get(f"{fake.url}/__mock/wait?task_id={task_id}&timeout=50", headers=KEY, timeout=60)

        def upload() -> None:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-load\r\nContent-Length: 100000\r\n\r\n"
                connection.sendall(head.encode())
                while not over.wait(0.5):
                    connection.sendall(b" ")

        def judge(url: str) -> None:
            while not over.is_set():
                requests.post(fake.url + CREATE, headers=KEY, json={**body, "image_start": url}, timeout=120)

        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(500)]
        jobs: list[tuple[Callable[..., None], tuple[str, ...]]] = [(wait, ())] * 100 + [(upload, ())] * 50
        jobs += [(judge, (url,)) for url in uploaded]
        threads = [threading.Thread(target=function, args=given, daemon=True) for function, given in jobs]
        for one in threads:
            one.start()
        over.wait(3)
        took = []
        for _ in range(200):
            began = time.perf_counter()
            assert requests.get(f"{fake.url}/__mock/health", timeout=60).status_code == 200
            took.append((time.perf_counter() - began) * 1000)
            over.wait(0.02)
        cuts = statistics.quantiles(took, n=100)
        print(f"health: median {cuts[49]:.0f} ms, 95% {cuts[94]:.0f} ms, slowest {max(took):.0f} ms")
        print("under load:", memory(fake))
        over.set()
        requests.post(f"{fake.url}/__mock/clock/advance", headers=KEY, json={"seconds": 86400}, timeout=60)
        for one in idle:
            one.close()


if __name__ == "__main__":
    main()
