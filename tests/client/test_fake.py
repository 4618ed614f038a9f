"""The client against the real fake, as a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import av
import pytest
import requests

from kling_client import Client, GaveUp, PollPolicy, Receiver, RequestInvalid, TaskFailed
from kling_client.listener import listening

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def fake():
    """A fake on a free port; gives its URL."""
    command = [str(Path(sys.executable).with_name("kling-mock")), "serve", "--port", "0", "--clock", "x60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"http://[\d.]+:\d+", line):
                    break
            else:
                pytest.fail(f"the fake did not start: {said[-3:]}")
            yield found.group()
        finally:
            process.terminate()
            process.stdout.read()


def client_of(fake, name, **manners):
    """A client with an account of its own."""
    return Client(f"sk-client-{name}", fake, poll=PollPolicy(**{"min_poll": 0.05, "deadline": 20.0, **manners}))


def test_a_video_comes_out(fake, kit, tmp_path):
    """From a first frame to a file that plays."""
    out = tmp_path / "out.mp4"

    video = client_of(fake, "happy").generate(kit.image, out, duration=3)

    with av.open(str(out)) as container:
        assert abs(container.duration / 1_000_000 - 3) < 0.5
        assert (container.streams.video[0].width, container.streams.video[0].height) == (1280, 720)
    assert video.task.usage.credits_used == 21.6


@pytest.mark.parametrize("scenario", ["failed", "cancelled"])
def test_failures_are_told(fake, kit, tmp_path, scenario):
    """With the service's code."""
    with pytest.raises(TaskFailed, match=r"content_policy_violation|request_cancelled"):
        client_of(fake, scenario).generate(kit.image, tmp_path / "out.mp4", prompt=f"[[{scenario}]]")


def test_a_stuck_task_is_given_up_and_resumed(fake, kit, tmp_path):
    """The record stays; the second run creates nothing."""
    out = tmp_path / "out.mp4"
    for _ in range(2):
        with pytest.raises(GaveUp):
            client_of(fake, "stuck", deadline=0.5).generate(kit.image, out, prompt="[[stuck]]")

    journal = requests.get(
        f"{fake}/__mock/tasks", headers={"Authorization": "Bearer sk-client-stuck"}, timeout=10
    ).json()
    assert len(journal["tasks"]) == 1


def test_a_callback_is_heard(fake, kit, tmp_path):
    """Through a relay, on a secret path, once."""
    receiver, headers = Receiver(path="/hook/s3cret"), {"Authorization": "Bearer sk-client-hook"}
    with listening(receiver, 0) as port:
        relay = {"https://hooks.example.com": f"http://127.0.0.1:{port}"}
        assert requests.put(f"{fake}/__mock/relays", json=relay, headers=headers, timeout=60).ok
        client = client_of(fake, "hook", min_poll=0.05, first=100, ceiling=100, error_ceiling=100)
        url = "https://hooks.example.com/hook/s3cret"
        done = client.generate(kit.image, tmp_path / "a.mp4", callback_url=url, receiver=receiver)
        query = {"task_id": done.task.id, "until": "delivered", "timeout": "10"}
        assert requests.get(f"{fake}/__mock/wait", params=query, headers=headers, timeout=60).json()["met"]
    deliveries = requests.get(f"{fake}/__mock/deliveries", headers=headers, timeout=60).json()["deliveries"]

    assert [attempt["outcome"] for attempt in deliveries[0]["attempts"]] == ["2xx"]
    assert receiver.once.count() == 1


def test_what_the_fake_would_refuse_is_not_sent(fake, kit):
    """One contract on both sides."""
    with pytest.raises(RequestInvalid):
        client_of(fake, "refused").create(kit.image, quality="4k")
    seen = requests.get(
        f"{fake}/__mock/journal", headers={"Authorization": "Bearer sk-client-refused"}, timeout=10
    ).json()

    assert not [entry for entry in seen["entries"] if "/v1/videos" in str(entry)]
