"""First frames of the stand-in: by URL, and fetched from a real host."""

from collections.abc import Iterator

import pytest
from standin import StandIn
from standin_calls import FAST, create, finished
from standin_gallery import BAD, GOOD, gallery


@pytest.fixture(scope="module")
def images() -> Iterator[str]:
    """An image host."""
    with gallery() as url:
        yield url


@pytest.mark.parametrize("name", ["moved", *(f"good/{name}" for name in GOOD)])
def test_a_fetched_first_frame_is_accepted(plain: StandIn, images: str, name: str) -> None:
    """Real bytes over HTTP: the bytes decide, whatever the name."""
    assert create(plain, image_start=f"{images}/{name}").status == 200


@pytest.mark.parametrize("name", ["gone", "cut", *(f"bad/{name}" for name in BAD)])
def test_a_fetched_first_frame_is_refused(plain: StandIn, images: str, name: str) -> None:
    """Wrong kind, size, ratio, length, or not there: 400 for image_start."""
    assert create(plain, image_start=f"{images}/{name}").error == (400, "invalid_request", "image_start")


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("300x300.jpg", 200),
        ("750x300.png", 200),
        ("1280x720.jpg?bytes=52428800", 200),
        ("299x400.png", 400),
        ("300x751.png", 400),
        ("1280x720.jpg?bytes=52428801", 400),
        ("1280x720.png?truncated", 400),
        ("1280x720.png?as=gif", 400),
        ("1280x720.png?status=404", 400),
        ("cat.png", 400),
    ],
)
def test_images_of_the_test_host(plain: StandIn, url: str, status: int) -> None:
    """An image of image.test is judged by its URL, with no network."""
    assert create(plain, image_start=f"https://image.test/{url}").status == status


def test_a_late_image_check_fails_the_task() -> None:
    """With the option a bad frame is accepted, then fails as image_processing_error and is refunded."""
    with StandIn(**FAST, late_image_check=True) as server:
        task = finished(server, create(server, image_start="https://image.test/100x100.png").json["id"])
        assert (task["status"], task["error"]["code"]) == ("failed", "image_processing_error")
        assert server.balance("sk-a") == 1_000_000
