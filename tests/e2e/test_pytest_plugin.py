"""The pytest plugin, in runs of its own: one shared fake, an account a test, nothing left behind."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

Run = Callable[..., subprocess.CompletedProcess[str]]

COMMON = """
import contextlib, os, pathlib, requests

def create(kling_mock, **more):
    wanted = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.png", **more}
    headers = {"Authorization": f"Bearer {kling_mock.api_key}"}
    answer = requests.post(f"{kling_mock.url}/v1/videos/generations", json=wanted, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()

def server(kling_mock):
    \"\"\"Process id of whoever listens at the fake's port.\"\"\"
    port = int(kling_mock.url.rpartition(":")[2])
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit() and links(process) & {f"socket:[{inode}]" for inode in inodes}:
            return int(process.name)

def links(process):
    \"\"\"What its open files are; one that is closed meanwhile is left out.\"\"\"
    found = set()
    with contextlib.suppress(OSError):
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(fd))
    return found
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on a file with this content in a process of its own, and wait until the fake it shared is gone."""

    def run(content: str, *options: str, ini: str = "", plugins: bool = False) -> subprocess.CompletedProcess[str]:
        (tmp_path / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}\n")
        (tmp_path / "test_it.py").write_text(COMMON + textwrap.dedent(content))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KLING_"))}
        if not plugins:  # the other plugins of this environment take a second to load
            environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            options = ("-p", "kling_mock.testing.pytest_plugin", "-p", "xdist", *options)
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                f"--basetemp={tmp_path / 'base'}",
                *options,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )

    return run


def gone(pid: int) -> bool:
    """Whether no process has this id any more, within five seconds; a dead one that nobody waited for counts as gone."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        subprocess.run(["sleep", "0.01"], check=True)
    return False


def test_an_account_a_test_at_one_fake(run: Run, tmp_path: Path) -> None:
    """Tests share the server and nothing else; the key, and with it every id, is the same in the next run."""
    content = """
    import pytest
    @pytest.mark.parametrize("number", [1, 2])
    def test_alone(kling_mock, number):
        task = create(kling_mock)
        assert [one["id"] for one in kling_mock.tasks()] == [task["id"]]
        with open("seen", "a") as seen:
            print(server(kling_mock), kling_mock.api_key, task["id"].rpartition("-")[2], file=seen)
    """
    for _ in range(2):
        assert run(content).returncode == 0
    first, second, third, fourth = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert first[0] == second[0] != third[0] == fourth[0]
    assert first[1] != second[1]
    assert (first[1:], second[1:]) == (third[1:], fourth[1:])
    assert gone(int(first[0]))
    assert gone(int(third[0]))


def test_the_clock_stands_still_until_it_is_moved(run: Run) -> None:
    """`advance` takes spans and numbers, and returns what happened; other accounts' clocks go on."""
    done = run("""
    from datetime import timedelta
    def test_clock(kling_mock, kling_clock):
        task = create(kling_mock)
        before = kling_clock.now
        assert kling_clock.now == before
        fired = kling_clock.advance("10m")
        assert [one["status"] for one in fired if one["kind"] == "status"][-1] == "completed"
        kling_clock.advance(60)
        kling_clock.advance(timedelta(minutes=1))
        assert kling_clock.now == before + 720
        assert kling_mock.wait(task["id"]) == "completed"
        assert any(entry["kind"] == "exchange" for entry in kling_mock.journal())
    """)
    assert done.returncode == 0, done.stdout


def test_the_receiver_fails_delays_and_asks_the_application(run: Run) -> None:
    """Planned answers come first, then the handler's; a broken handler is a 500; every call is kept with what it was answered."""
    done = run("""
    def test_receiver(kling_mock, kling_clock, kling_receiver):
        seen = []
        @kling_receiver.handler
        def webhook(call):
            seen.append(call.json["id"])
            if len(seen) == 1:
                raise RuntimeError("the database is down")
            return 202
        kling_receiver.answers(503)
        kling_receiver.delay(0.01)
        task = create(kling_mock, callback_url=kling_receiver.url + "?secret=1")
        kling_clock.advance("10m")
        assert [call.status for call in kling_receiver.wait(3)] == [503, 500, 202]
        assert seen == [task["id"]] * 2
        call = kling_receiver.calls[0]
        assert (call.method, call.path, call.headers["host"]) == ("POST", "/callback?secret=1", "receiver.test")
        (owed,) = kling_mock.deliveries(task["id"])
        assert [one["outcome"] for one in owed["attempts"]] == ["status", "status", "2xx"]
    """)
    assert done.returncode == 0, done.stdout


def test_a_relay_leads_to_the_applications_own_server(run: Run) -> None:
    """Besides the receiver, a test may relay any public-looking origin to a port of its own."""
    done = run("""
    import http.server, threading
    def test_relay(kling_mock, kling_clock, kling_receiver):
        paths = []
        class App(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                paths.append(self.path)
                self.send_response(204)
                self.end_headers()
            def log_message(self, *args): pass
        with http.server.HTTPServer(("127.0.0.1", 0), App) as app:
            threading.Thread(target=app.serve_forever, args=(0.01,), daemon=True).start()
            kling_mock.relay("https://app.example.com", f"http://127.0.0.1:{app.server_port}")
            create(kling_mock, callback_url="https://app.example.com/hook")
            create(kling_mock, callback_url=kling_receiver.url)
            kling_clock.advance("10m")
            app.shutdown()
        assert paths == ["/hook"]
        assert len(kling_receiver.calls) == 1
    """)
    assert done.returncode == 0, done.stdout


def test_workers_share_one_fake_and_survive_a_crash(run: Run, tmp_path: Path) -> None:
    """Two workers, the first of them dies: the others, and the one that replaces it, go on at the same fake, which ends with the run."""
    content = """
    import pytest
    @pytest.mark.parametrize("number", range(8))
    def test_shared(kling_mock, number):
        create(kling_mock)
        with open("seen", "a") as seen:
            print(server(kling_mock), os.getpid(), file=seen)
        if number == 0:
            os._exit(3)
    """
    done = run(content, "-n2")
    assert "7 passed" in done.stdout, done.stdout
    assert "crashed" in done.stdout
    servers, workers = (
        set(column)
        for column in zip(*[line.split() for line in (tmp_path / "seen").read_text().splitlines()], strict=True)
    )
    assert len(workers) >= 2
    assert len(servers) <= 2  # a second one only where nobody held the first when it was needed again
    assert all(gone(int(pid)) for pid in servers)


def test_a_fake_that_was_killed_is_started_again(run: Run) -> None:
    """Whoever kills the server breaks one test, not the rest of the run."""
    content = """
    import signal
    def test_kill(kling_mock):
        os.kill(server(kling_mock), signal.SIGKILL)
    def test_next(kling_mock):
        create(kling_mock)
    """
    done = run(content)
    assert "2 passed" in done.stdout, done.stdout


def test_options_come_from_the_ini_file(run: Run) -> None:
    """`kling_mock_options` are those of `serve`; HTTPS works; one that does not fit is said in the fake's own words."""
    content = """
    def test_tls(kling_mock):
        assert kling_mock.url.startswith("https://")
        assert kling_mock.control("GET", "/clock")["mode"] == "manual"
    """
    assert run(content, ini="kling_mock_options = --tls --clock manual").returncode == 0
    done = run(content, ini="kling_mock_options = --clock backwards")
    assert "--clock" in done.stdout
    assert "MockError" in done.stdout


def test_mistakes_of_a_test_are_said(run: Run) -> None:
    """An unknown scenario, task or span raises, with the fake's sentence."""
    done = run("""
    import pytest
    from kling_mock.testing.fixtures import MockError
    def test_mistakes(kling_mock, kling_clock, kling_receiver):
        with pytest.raises(MockError, match="no scenario"):
            kling_mock.scenario("no-such-story")
        with pytest.raises(MockError, match="no task"):
            kling_mock.control("POST", "/tasks/task-unified-1-x/cancel")
        with pytest.raises(ValueError, match="duration"):
            kling_clock.advance("soon")
        with pytest.raises(TimeoutError, match="0 of 1"):
            kling_receiver.wait(1, timeout=0.01)
    """)
    assert done.returncode == 0, done.stdout


def test_a_run_that_does_not_ask_pays_nothing(run: Run) -> None:
    """Loading the plugin imports neither Flask nor anything else of weight, and starts nothing."""
    done = run("""
    import sys
    def test_light():
        heavy = {"flask", "granian", "requests", "yaml", "pydantic", "trustme", "kling_mock.testing.fixtures"}
        assert "kling_mock.testing.pytest_plugin" in sys.modules
        assert not heavy & sys.modules.keys() - {"requests"}
    """)
    assert done.returncode == 0, done.stdout
    assert "kling_mock" in run("", "--fixtures", plugins=True).stdout


def test_results_are_typed_and_a_failure_shows_its_journal(run: Run) -> None:
    """Attributes of tasks, deliveries and attempts; the journal of the failed test alone; the environment until the test's end."""
    done = run(
        """
        from kling_mock.testing import Attempt, Delivery, Task

        def test_types(kling_mock, kling_clock, kling_receiver, kling_environ):
            assert os.environ["KLING_BASE_URL"] == os.environ["EVOLINK_BASE_URL"] == kling_mock.url
            kling_receiver.answers(500)
            task_id = create(kling_mock, callback_url=kling_receiver.url)["id"]
            fired = kling_clock.advance("1h30m")
            assert [event.kind for event in fired] == ["status", "status", "attempt", "attempt"]
            (task,) = kling_mock.tasks()
            (delivery,) = kling_mock.deliveries()
            assert isinstance(task, Task) and isinstance(delivery, Delivery)
            assert (task.id, task.status, task.progress, task.code) == (task_id, "completed", 100, None)
            assert task.links[0].expires_at > delivery.attempts[0].ended >= delivery.attempts[0].sent
            assert delivery.outcomes == ["status", "2xx"]
            assert isinstance(delivery.attempts[1], Attempt) and delivery.attempts[0].status == 500
            assert delivery["state"] == delivery.state == "delivered"

        def test_the_environment_is_restored():
            assert "KLING_BASE_URL" not in os.environ

        def test_fails(kling_mock):
            create(kling_mock, prompt="seen")
            assert False, "on purpose"

        def test_the_loop_that_must_respond_is_not_blocked(kling_mock, kling_clock):
            import asyncio
            from kling_mock.testing import MockError

            create(kling_mock, callback_url="https://8.8.8.8/hook")

            async def wrong():
                kling_clock.advance("1h")

            try:
                asyncio.run(wrong())
            except MockError as error:
                assert "await kling_clock.aadvance" in str(error)
            else:
                raise AssertionError("it was advanced")
        """,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("kling-mock: journal of this test") == 1
    assert "POST /v1/videos/generations  200  task-unified-" in done.stdout


def test_the_recipes_run() -> None:
    """Every example of the docs' page on Python tests."""
    recipes = Path(__file__).parent.parent.parent / "examples" / "pytest"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(recipes), str(recipes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
