"""Parametrised scenarios: one test for each way in which a task can fail; run it with `-n auto` if you like."""

import os

import pytest
import requests

from kling_mock.testing import KlingMock, ManualClock


def make_video() -> str:
    """The application: reads its environment, and returns how the task stands."""
    url, headers = os.environ["KLING_BASE_URL"], {"Authorization": f"Bearer {os.environ['KLING_API_KEY']}"}
    body = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.jpg"}
    answer = requests.post(f"{url}/v1/videos/generations", json=body, headers=headers, timeout=30)
    return str(answer.json().get("id", answer.status_code))


@pytest.mark.parametrize("code", ["content_policy_violation", "service_error"])
@pytest.mark.usefixtures("kling_environ")
def test_failures(kling_mock: KlingMock, kling_clock: ManualClock, code: str) -> None:
    """Each failure ends the task with its code and charges nothing."""
    kling_mock.scenario("failed", code=code)
    make_video()
    kling_clock.advance("1h")
    (task,) = kling_mock.tasks()
    assert (task.status, task.code) == ("failed", code)
