"""An upload over real sockets, and the video that is made of it."""

import io
from pathlib import Path

import av
import pytest
import requests
from PIL import Image, ImageChops, ImageStat

import kling_openapi
from kling_mock.serving.process import Running

LIMITS = kling_openapi.service()["components"]["schemas"]["UploadedFile"]["x-files"]
STREAM, BASE64 = (f"/api/v1/files/upload/{kind}" for kind in ("stream", "base64"))


@pytest.mark.e2e
def test_over_the_wire(tmp_path: Path) -> None:
    """
    A real JPEG through the edge with requests: a task is made of it, and its video begins with that picture. Too much is 413.
    """
    buffer = io.BytesIO()
    Image.new("RGB", (800, 600), "crimson").save(buffer, "jpeg")
    photo = buffer.getvalue()
    key = {"Authorization": "Bearer sk-wire"}
    with Running(["--clock", "manual"]) as fake, requests.Session() as web:
        answer = web.post(f"{fake.url}{STREAM}", files={"file": ("写真.jpg", photo, "image/jpeg")}, headers=key)
        data = answer.json()["data"]
        served = web.get(data["file_url"], headers={"Range": "bytes=0-2"})
        assert (served.status_code, served.content) == (206, photo[:3])
        head = web.head(data["file_url"])
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(photo)))
        assert web.get(data["download_url"]).headers["content-disposition"].endswith("%E5%86%99%E7%9C%9F.jpg")
        body = {"model": "kling-v3-turbo-image-to-video", "image_start": data["file_url"], "duration": 3}
        made = web.post(f"{fake.url}/v1/videos/generations", json=body, headers=key).json()
        web.post(f"{fake.url}/__mock/clock/advance", json={"seconds": 600})
        task = web.get(f"{fake.url}/v1/tasks/{made['id']}", headers=key).json()
        (tmp_path / "video.mp4").write_bytes(web.get(task["results"][0]).content)
        over = {"content-type": "application/json", **key}
        assert web.post(f"{fake.url}/v1/videos/generations", data=b" " * (2 << 20), headers=over).status_code == 413
        too_much = web.post(f"{fake.url}{STREAM}", files={"file": b"x" * (LIMITS["max_bytes"] + 1)}, headers=key)
        assert (too_much.status_code, too_much.json()["code"]) == (400, 40001)
        too_much = web.post(f"{fake.url}{BASE64}", data=b" " * (142 << 20), headers=over)
        assert (too_much.status_code, too_much.json()["code"]) == (400, 40001)
    with av.open(tmp_path / "video.mp4") as video:
        first = next(video.decode(video=0)).to_image()
    assert first.width * 3 == first.height * 4
    difference = ImageChops.difference(
        first.convert("RGB").resize((80, 60)), Image.open(io.BytesIO(photo)).resize((80, 60))
    )
    assert max(ImageStat.Stat(difference).mean) < 20
