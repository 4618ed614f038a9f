"""The Python and the TypeScript command share state files and locks: each goes on with what the other began."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def commands(typescript_built):
    """Both commands, by the language."""
    return {"python": [sys.executable, "-m", "kling_client"], "typescript": ["node", str(typescript_built)]}


@pytest.fixture
def start(commands, kit, service, tmp_path):
    """Starts a command of a language against the scripted service."""
    running = []
    with kit.serving(service) as url:
        environment = {**os.environ, "KLING_API_KEY": kit.key, "KLING_MIN_POLL": "0.05", "KLING_DEADLINE": "60"}

        def start(language, *arguments, base=url):
            process = subprocess.Popen(
                [*commands[language], *arguments],
                env={**environment, "KLING_BASE_URL": base},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            running.append(process)
            return process

        start.url = url
        yield start
        for process in running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=60)


def run(start, language, *arguments, **settings):
    """Run a command to its end; gives its exit code and what it said."""
    process = start(language, *arguments, **settings)
    _stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stderr


BOTH = [("python", "typescript"), ("typescript", "python")]
WISHES = ["--out", "out.mp4", "--duration", "3", "--prompt", "a breeze, ümlaut 🌬", "--quality", "1080p"]


@pytest.mark.parametrize(("first", "second"), BOTH)
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_is_resumed_by_the_other_language(start, service, kit, tmp_path, first, second, sent):
    """Stopped or killed: the same wishes find the task, create nothing and save the video; nothing is left."""
    polled = threading.Event()

    def stuck(_call):
        polled.set()
        return kit.answer(kit.task("processing"))

    service.on("poll", stuck)
    process = start(first, "generate", kit.image, *WISHES)
    assert polled.wait(60)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert json.loads((tmp_path / "out.mp4.kling.json").read_text())["task_id"] == kit.task_id
    service.on("poll", kit.answer(kit.task("completed", results=[f"{start.url}/a.mp4"])))

    other = start.url.replace("http://127.0.0.1", "HTTP://127.1") + "/v1/"
    code, stderr = run(start, second, "generate", kit.image, *WISHES, base=other)

    assert code == 0, stderr
    assert "resuming" in stderr
    assert len(service.seen("create")) == 1
    assert (tmp_path / "out.mp4").read_bytes() == kit.video_bytes
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(("first", "second"), BOTH)
def test_a_lost_create_of_one_is_known_to_the_other(start, service, kit, tmp_path, first, second):
    """It asks, and sends it again under the same key and with the same body only when the user says so."""
    service.on("create", kit.refused(500), kit.answer(kit.task()))
    service.on("poll", kit.answer(kit.task("completed", results=[f"{start.url}/a.mp4"])))
    assert run(start, first, "generate", kit.image, *WISHES)[0] == 6

    code, stderr = run(start, second, "generate", kit.image, *WISHES)
    assert code == 6, stderr
    assert run(start, second, "generate", kit.image, "--out", "out.mp4", "--duration", "4")[0] == 4
    key = json.loads((tmp_path / "out.mp4.kling.json").read_text())["idempotency_key"]
    code, stderr = run(start, second, "generate", kit.image, *WISHES, "--idempotency-key", key)

    assert code == 0, stderr
    one, two = service.seen("create")
    sent = [{name.lower(): value for name, value in call.headers.items()}["idempotency-key"] for call in (one, two)]
    assert sent == [key, key]
    assert json.loads(one.body) == json.loads(two.body)


@pytest.mark.parametrize(("first", "second"), BOTH)
def test_two_runs_at_once_make_one_create(start, service, kit, first, second):
    """The second finds the first at work, says which task it makes, and sends nothing."""
    polled, go = threading.Event(), threading.Event()

    def wait(_call):
        polled.set()
        go.wait(60)
        return kit.answer(kit.task("completed", results=[f"{start.url}/a.mp4"]))

    service.on("poll", wait)
    process = start(first, "generate", kit.image, *WISHES)
    assert polled.wait(60)
    code, stderr = run(start, second, "generate", kit.image, *WISHES)
    go.set()
    process.communicate(timeout=60)

    assert code == 9, stderr
    assert kit.task_id in stderr
    assert process.returncode == 0
    assert len(service.seen("create")) == 1


@pytest.mark.parametrize(("first", "second"), BOTH)
def test_a_state_file_is_resumed_by_its_name(start, service, kit, tmp_path, first, second):
    """`kling resume FILE` in the other language."""
    service.on("poll", kit.refused(401))
    assert run(start, first, "generate", kit.image, *WISHES)[0] == 4
    service.on("poll", kit.answer(kit.task("completed", results=[f"{start.url}/a.mp4"])))

    assert run(start, second, "resume", "out.mp4.kling.json")[0] == 0
    assert (tmp_path / "out.mp4").read_bytes() == kit.video_bytes
