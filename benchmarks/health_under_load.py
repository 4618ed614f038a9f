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
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import requests
from PIL import Image

from kling_mock.serving.process import Running

KEY = {"Authorization": "Bearer sk-load"}
CREATE = "/v1/videos/generations"
NEVER = threading.Event()
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


def uploads(url: str) -> list[str]:
    """Return the URLs of 20 pictures that the fake keeps and has not judged yet."""
    found = []
    for number in range(20):
        files = {"file": (f"{number}.png", noise(number))}
        answer = requests.post(f"{url}/api/v1/files/upload/stream", headers=KEY, files=files, timeout=120)
        found.append(answer.json()["data"]["file_url"])
    return found


def load(url: str, task_id: str, pictures: list[str]) -> None:
    """Load the fake in every way at once until this process is ended."""
    port = urlsplit(url).port
    never = threading.Event()

    def wait() -> None:
        requests.get(f"{url}/__mock/wait?task_id={task_id}&timeout=50", headers=KEY, timeout=60)

    def upload() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = (
                f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-load\r\nContent-Length: 100000\r\n\r\n"
            )
            connection.sendall(head.encode())
            while not never.wait(0.5):
                connection.sendall(b" ")

    def judge(picture: str) -> None:
        while True:
            requests.post(url + CREATE, headers=KEY, json={"model": MODEL, "image_start": picture}, timeout=120)

    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(500)]
    jobs: list[tuple[Callable[..., None], tuple[str, ...]]] = [(wait, ())] * 100 + [(upload, ())] * 50
    jobs += [(judge, (picture,)) for picture in pictures]
    for function, given in jobs:
        threading.Thread(target=function, args=given, daemon=True).start()
    never.wait()
    del idle


def main() -> None:
    """Load one fake from a process of its own, and print what health takes: 20 busy threads next to the clock would be in its way."""
    with Running(["--clock", "manual"]) as fake:
        print("at the start:", memory(fake))
        body = {"model": MODEL, "image_start": "https://image.test/640x480.png"}
        task_id = requests.post(fake.url + CREATE, headers=KEY, json=body, timeout=60).json()["id"]
        loading = get_context("spawn").Process(target=load, args=(fake.url, task_id, uploads(fake.url)))
        loading.start()
        NEVER.wait(5)
        took = []
        with requests.Session() as session:
            for _ in range(200):
                began = time.perf_counter()
                assert session.get(f"{fake.url}/__mock/health", timeout=60).status_code == 200
                took.append((time.perf_counter() - began) * 1000)
                NEVER.wait(0.02)
        cuts = statistics.quantiles(took, n=100)
        print(f"health: median {cuts[49]:.0f} ms, 95% {cuts[94]:.0f} ms, slowest {max(took):.0f} ms")
        print("under load:", memory(fake))
        loading.terminate()
        loading.join()


if __name__ == "__main__":
    main()
