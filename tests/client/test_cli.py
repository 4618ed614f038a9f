"""The `kling` command, in this process against a loopback port, and once as a process."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from kling_client import cli

FAST = ["--min-poll", "0.01", "--deadline", "5"]


@pytest.fixture
def kling(kit, service, monkeypatch, tmp_path, capfd):
    """Runs the command against the scripted service; gives exit code, stdout, stderr and the result file."""
    with kit.serving(service) as url:
        service.on("poll", kit.answer(kit.task("completed", results=[f"{url}/a.mp4"])))
        monkeypatch.setenv("KLING_BASE_URL", url)
        monkeypatch.setenv("KLING_API_KEY", kit.key)
        monkeypatch.setenv("KLING_RESULT", str(tmp_path / "result.json"))
        previous = signal.getsignal(signal.SIGTERM)

        def run(*arguments):
            code = cli.run([*arguments])
            stdout, stderr = capfd.readouterr()
            assert kit.key not in stdout + stderr
            assert "Traceback" not in stderr
            result = tmp_path / "result.json"
            return code, stdout, stderr, json.loads(result.read_text()) if result.exists() else None

        run.url = url
        yield run
        signal.signal(signal.SIGTERM, previous)


def test_generate_saves_and_says_so(kling, kit, tmp_path, service):
    """0, the file's name on stdout, the id on stderr, the result file."""
    code, stdout, stderr, result = kling("generate", kit.image, "--out", "out.mp4", "--duration", "3", *FAST)

    assert (code, stdout) == (0, "out.mp4\n")
    assert stderr.startswith("sending the create\n" + kit.task_id)
    assert "50 credits reserved" in stderr
    assert result == {"outcome": "completed", "task_id": kit.task_id, "effects": 1, "error": None}
    assert (tmp_path / "out.mp4").read_bytes() == kit.video_bytes
    assert json.loads(service.seen("create")[0].body)["duration"] == 3


def test_the_variables_of_the_lab_are_read(kling, kit, monkeypatch, tmp_path, service):
    """KLING_IMAGE and KLING_OUT; a callback URL in the environment alone is not used."""
    monkeypatch.setenv("KLING_IMAGE", kit.image)
    monkeypatch.setenv("KLING_OUT", str(tmp_path / "there.mp4"))
    monkeypatch.setenv("KLING_CALLBACK_URL", "https://hooks.test/a")
    monkeypatch.setenv("KLING_CALLBACK_PORT", "0")

    assert kling("generate", *FAST)[0] == 0
    assert (tmp_path / "there.mp4").exists()
    assert "callback_url" not in json.loads(service.seen("create")[0].body)


def test_json_on_stdout(kling, kit):
    """CD-11: what the service said, unchanged."""
    code, stdout, _stderr, _result = kling("generate", kit.image, "--json", *FAST)

    told = json.loads(stdout)
    assert code == 0
    assert (told["outcome"], told["task_id"], told["files"]) == ("completed", kit.task_id, ["1280x720.mp4"])
    assert told["task"]["results"] == [f"{kling.url}/a.mp4"]


REFUSALS = [
    (["--quality", "4k"], "quality: must be one of 720p, 1080p"),
    (["--duration", "16"], "duration"),
    (["--duration", "five"], "duration"),
    (["--duration", "nan"], "duration"),
    (["--duration", '"5"'], "duration"),
    (["--duration", "true"], "duration"),
    (["--duration", "[5]"], "duration"),
    (["--prompt", "x" * 2501], "prompt"),
    (["--callback-url", "http://example.com/"], "callback_url"),
    (["--field", "aspect_ratio=16:9"], "aspect_ratio: Not accepted; the first frame decides."),
]


@pytest.mark.parametrize(("options", "words"), REFUSALS)
def test_what_the_contract_forbids_is_refused(kling, kit, service, options, words):
    """CQ-10: 4, one line, nothing sent."""
    code, stdout, stderr, result = kling("generate", kit.image, *options, *FAST)

    assert (code, stdout) == (4, "")
    assert words in stderr
    assert stderr.count("\n") == 1
    assert result["outcome"] == "refused"
    assert service.calls == []


USAGE = [
    [],
    ["generate"],
    ["generate", "a", "b"],
    ["generate", "https://x.test/a.jpg", "--min-poll", "0"],
    ["generate", "https://x.test/a.jpg", "--deadline", "soon"],
    ["generate", "https://x.test/a.jpg", "--field", "x"],
    ["generate", "https://x.test/a.jpg", "--base-url", "http://example.com"],
    ["generate", "https://x.test/a.jpg", "--out", "no/where.mp4"],
    ["generate", "https://x.test/a.jpg", "--callback-url", "https://h.test/", "--callback-port", "70000"],
    ["nonsense"],
    ["generate", "https://x.test/a.jpg", "--out", "x" * 300],
    ["generate", "https://x.test/a.jpg", "--out", "a\0b"],
    ["resume", "x.kling.json"],
]


@pytest.mark.parametrize("arguments", USAGE)
def test_usage_errors(kling, service, arguments):
    """2, and nothing sent."""
    code, stdout, stderr, _result = kling(*arguments)

    assert (code, stdout) == (2, "")
    assert stderr.strip()
    assert service.calls == []


def test_no_key_is_one_line(kling, kit, monkeypatch):
    """It says what to do."""
    monkeypatch.delenv("KLING_API_KEY")

    code, _stdout, stderr, _result = kling("generate", kit.image)

    assert (code, stderr) == (2, "kling: no API key: set KLING_API_KEY, or give --api-key\n")


def test_every_outcome_has_its_exit_code(kling, kit, service):
    """3 failed, 4 refused, 5 gave up, 6 unknown, 7 server, 8 not saved; each with its word in the result file."""
    stories = [
        ("poll", kit.answer(kit.task("failed")), 3, "failed", "task"),
        ("create", kit.refused(402, "insufficient_quota"), 4, "refused", "balance"),
        ("poll", kit.refused(401), 4, "refused", "auth"),
        ("poll", kit.refused(429, Retry_After="1000"), 5, "gave_up", "deadline"),
        ("create", kit.refused(500), 6, "unknown", "unknown"),
        ("link", kit.reply(200, {"Content-Type": "text/html"}, b"<html>"), 8, "failed", "download"),
        ("poll", kit.answer(kit.task("completed", results=[])), 8, "failed", "result"),
    ]
    for number, (kind, step, expected, outcome, error) in enumerate(stories):
        kept = service.steps[kind]
        service.on(kind, step)
        out = f"{number}.mp4"
        code, stdout, stderr, result = kling(
            "generate", kit.image, "--out", out, "--min-poll", "0.01", "--deadline", "30"
        )
        service.steps[kind] = kept
        assert (code, result["outcome"], result["error"]["class"], result["effects"]) == (expected, outcome, error, 0)
        assert stdout == ""
        assert stderr.splitlines()[-1].startswith("kling: ")
        if kind != "create":
            assert result["task_id"] == kit.task_id


def test_the_services_words_are_passed_on(kling, kit, service):
    """CD-10: code and message, on stderr and in the result file."""
    service.on("poll", kit.answer(kit.task("failed")))

    _code, _stdout, stderr, result = kling("generate", kit.image, *FAST)

    assert "content_policy_violation: refused by review" in stderr
    assert (result["error"]["code"], result["error"]["message"]) == ("content_policy_violation", "refused by review")


def test_resume_by_id_and_by_state_file(kling, kit, service):
    """What is owed is waited for and saved; nothing is created."""
    service.on("link", kit.reply(500, {}, b""))
    assert kling("generate", kit.image, "--out", "out.mp4", *FAST)[0] == 8
    service.on("link", kit.video())

    assert kling("resume", "out.mp4.kling.json", *FAST)[:2] == (0, "out.mp4\n")
    assert kling("resume", kit.task_id, *FAST)[:2] == (0, f"{kit.task_id}.mp4\n")
    assert len(service.seen("create")) == 1


def test_a_state_file_of_another_service_gets_no_key(kling, kit, service, tmp_path):
    """The key goes where the user pointed, not where a file says."""
    record = {"version": 1, "phase": "accepted", "digest": "x", "idempotency_key": "k", "base_url": "https://evil.test"}
    (tmp_path / "out.mp4.kling.json").write_text(json.dumps({**record, "task_id": kit.task_id, "body": {}}))

    code, _stdout, stderr, _result = kling("resume", "out.mp4.kling.json")

    assert code == 2
    assert "evil.test" in stderr
    assert service.calls == []


def test_status_and_credits(kling, kit):
    """One line each, or JSON."""
    assert kling("status", kit.task_id)[1].startswith(f"{kit.task_id} completed 100%\nhttp://127.0.0.1")
    assert json.loads(kling("status", kit.task_id, "--json")[1])["status"] == "completed"
    assert kling("credits")[1] == "token: 9 credits left, 1 used\n"


def test_receive_hears_callbacks(kling, kit, service, monkeypatch):
    """The callback comes before the create's reply; the wait ends at once, with one effect."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("KLING_CALLBACK_URL", "https://hooks.example.com/hook/s3cret")
    monkeypatch.setenv("KLING_CALLBACK_PORT", str(port))
    statuses = []

    def call_back(_call):
        data = json.dumps(kit.task("completed")).encode()
        for _ in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/hook/s3cret", data, timeout=60) as answer:
                statuses.append(answer.status)
        return kit.answer(kit.task())

    service.on("create", call_back)
    code, _stdout, _stderr, result = kling(
        "generate", kit.image, "--receive", "--linger", "0", "--min-poll", "1", "--deadline", "60"
    )

    assert (code, statuses, result["effects"]) == (0, [204, 204], 1)
    assert json.loads(service.seen("create")[0].body)["callback_url"] == "https://hooks.example.com/hook/s3cret"


def test_what_cannot_be_done_here_is_77(kling, kit):
    """No callback variables, no receiving."""
    assert kling("generate", kit.image, "--receive")[0] == 77


def test_a_key_that_the_server_echoes_is_not_printed(kling, kit, service):
    """CQ-03, in every line and file (the fixture looks)."""
    service.on(
        "poll", kit.answer(kit.task("failed", error={"code": "x", "message": f"key {kit.key}", "type": "task_error"}))
    )

    _code, stdout, stderr, result = kling("generate", kit.image, "--json", *FAST)

    assert kit.key not in stdout + stderr + json.dumps(result)


def test_a_fault_of_this_program_is_one_line(kling, kit, monkeypatch):
    """Exit 1, no traceback."""
    monkeypatch.setattr(cli, "_name_for", lambda image: 1 / 0)

    code, _stdout, stderr, _result = kling("generate", kit.image)

    assert code == 1
    assert "ZeroDivisionError" in stderr


def test_a_terminal_gets_a_bar(kling, kit, monkeypatch):
    """The same story, drawn; the id stays readable above it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    code, stdout, stderr, _result = kling("generate", kit.image, *FAST)

    assert (code, stdout) == (0, "1280x720.mp4\n")
    assert "100%" in stderr
    assert f"{kit.task_id} accepted, 50 credits reserved" in stderr


def test_being_stopped_in_the_middle_of_a_create_is_unknown(kling, kit, monkeypatch):
    """CM-07: Ctrl-C is no proof that nothing was accepted; the next run does not send it again by itself."""
    from kling_client import Client

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "send_create", stop)
    code, _stdout, stderr, result = kling("generate", kit.image, *FAST)
    assert (code, result["outcome"]) == (10, "unknown")
    assert "may have been accepted" in stderr

    assert kling("generate", kit.image, *FAST)[0] == 6


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("https://x.test/a/photo.jpg?sig=1", "photo.mp4"),
        ("https://x.test/", "video.mp4"),
        ("https://x.test/..", "video.mp4"),
        ("https://x.test/%00%2Fetc%2Fpasswd.png", "passwd.mp4"),
        ("some/where/photo.jpg", "photo.mp4"),
        (f"https://x.test/{'x' * 500}.png", f"{'x' * 100}.mp4"),
    ],
)
def test_the_output_has_a_name_of_its_own(image, name):
    """From the image's, harmless."""
    assert cli._name_for(image) == name


@pytest.mark.e2e
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_the_id_and_is_resumed(kit, service, tmp_path, sent):
    """CM-08, CM-09: output and state name the task; the second run creates nothing."""
    polled = threading.Event()

    def stuck(_call):
        polled.set()
        return kit.answer(kit.task("processing"))

    with kit.serving(service) as url:
        service.on("poll", stuck)
        environment = {**os.environ, "KLING_BASE_URL": url, "KLING_API_KEY": kit.key}
        command = [
            sys.executable,
            "-m",
            "kling_client",
            "generate",
            kit.image,
            "--out",
            "out.mp4",
            "--min-poll",
            "0.05",
        ]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            assert polled.wait(20)
            process.send_signal(sent)
            _stdout, stderr = process.communicate(timeout=60)
        service.on("poll", kit.answer(kit.task("completed", results=[f"{url}/a.mp4"])))
        second = subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True
        )

    assert process.returncode == (-9 if sent == signal.SIGKILL else 10)
    assert kit.task_id in stderr
    assert "Traceback" not in stderr
    assert "resuming" in second.stderr
    assert len(service.seen("create")) == 1
    assert (tmp_path / "out.mp4").read_bytes() == kit.video_bytes


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        ([], "0 2 3 4 5 6 7 8 9 10 77"),
        (["generate"], "0 2 3 4 5 6 7 8 9 10 77"),
        (["resume"], "0 2 3 4 5 6 7 8 9 10 77"),
        (["status"], "0 2 4 7 10"),
        (["credits"], "0 2 4 7 10"),
    ],
)
def test_the_help_of_a_command_lists_the_codes_that_it_ends_with(kling, command, codes):
    """What only reads saves nothing, and makes nothing that could fail."""
    code, stdout, _stderr, _result = kling(*command, "--help")

    listed = " ".join(stdout.partition("Exit codes: ")[2].split())
    assert code == 0
    assert [one.split()[0] for one in listed.rstrip(".").split("; ")] == codes.split()
