"""First frames that need no looking: a create with one does not wait for a thread."""

import io
from collections.abc import Callable
from typing import Any

import pytest

import kling_openapi
from kling_mock.media import pictures

MODEL = "kling-v3-turbo-image-to-video"


def known(rig: Any, url: str) -> Any:
    """What is known of *url* as the turbo model's first frame, without I/O and without a decoder."""
    medium = kling_openapi.family().models[MODEL].media({"model": MODEL, "image_start": url})[0]
    return rig.fake.world.frames.known(medium.url, medium.limits)


@pytest.mark.parametrize(
    "url", ["https://cdn.example.com/a.png", "http://127.0.0.1:9/x.jpg", "https://cdn.example.com"]
)
def test_offline_other_urls_are_known_at_once(make: Callable[..., Any], url: str) -> None:
    """Accepted unseen, and so it says; with `--images fetch` they must be looked at."""
    assert known(make(images="offline"), url).unseen
    assert known(make(), url) is None


def test_what_the_fake_draws_is_looked_at_even_offline(make: Callable[..., Any]) -> None:
    """A drawing that breaks a limit is refused offline too; the first create finds out what it is, for those that follow."""
    rig = make(images="offline")
    rig.create(image_start="https://image.test/100x100.png")
    rig.create(image_start="https://image.test/640x480.png")

    assert known(rig, "https://image.test/100x100.png") is None
    assert known(rig, "https://image.test/640x480.png").frame.width == 640


def test_an_upload_is_judged_once(rig: Any) -> None:
    """By the first create with it; a deleted one is judged again, and refused."""
    picture = io.BytesIO()
    pictures.paint(640, 480, 1).save(picture, "PNG")
    made = rig.call("POST", "/api/v1/files/upload/stream", data={"file": (io.BytesIO(picture.getvalue()), "a.png")})
    data = made.json["data"]

    assert known(rig, data["file_url"]) is None
    assert rig.create(image_start=data["file_url"]).status_code == 200
    assert known(rig, data["file_url"]).frame.width == 640
    rig.call("DELETE", f"/api/v1/files/{data['file_id']}")
    assert known(rig, data["file_url"]) is None
    assert rig.create(image_start=data["file_url"]).status_code == 400
