"""Stated limits are held, settings that make no sense are refused, and a run that is done is not reported as stopped."""

import json
import os
import signal
import socket
import stat
import threading

import pytest

from kling_client import (
    BadSetting,
    Client,
    ConfigError,
    DownloadError,
    DownloadPolicy,
    KlingError,
    NetworkError,
    PollPolicy,
    Receiver,
    RedirectRefused,
    RequestInvalid,
    ResultMissing,
    Timeouts,
    cli,
)
from kling_client.listener import listening
from kling_client.retry_after import retry_after

ODD = [float("nan"), float("inf"), -1, "5", None, True]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (PollPolicy, ["min_poll", "first", "growth", "ceiling", "error_ceiling", "spread", "deadline"]),
        (PollPolicy, ["not_found_patience", "redirect_patience"]),
        (DownloadPolicy, ["max_bytes", "attempts", "first_wait", "deadline", "redirects"]),
        (Timeouts, ["connect", "read", "total"]),
    ],
)
def test_every_number_of_a_policy_is_checked(kind, names):
    """No pace without pauses, no wait without end, no download of less than one attempt."""
    for name in names:
        for value in ODD:
            with pytest.raises(BadSetting):
                kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "least", "below"),
    [
        (DownloadPolicy, "max_bytes", 1, 0),
        (DownloadPolicy, "attempts", 1, 0),
        (DownloadPolicy, "redirects", 0, -1),
        (DownloadPolicy, "first_wait", 0, -0.001),
        (DownloadPolicy, "deadline", 0.001, 0),
        (PollPolicy, "min_poll", 0.001, 0),
        (PollPolicy, "deadline", 0.001, 0),
        (PollPolicy, "first", 1, 0.999),
        (PollPolicy, "growth", 1, 0.999),
        (PollPolicy, "spread", 0, -0.001),
        (PollPolicy, "not_found_patience", 0, -1),
        (PollPolicy, "redirect_patience", 0, -1),
        (Timeouts, "connect", 0.001, 0),
        (Timeouts, "read", 0.001, 0),
        (Timeouts, "total", 0.001, 0),
    ],
)
def test_the_least_that_a_number_of_a_policy_may_be(kind, name, least, below):
    """It is taken, and nothing below it."""
    assert getattr(kind(**{name: least}), name) == least
    with pytest.raises(BadSetting, match=name):
        kind(**{name: below})


@pytest.mark.parametrize(
    "settings", [{"create_attempts": 0}, {"attempts": 0}, {"backlog": 0}, {"retry_wait": -1}, {"retry_wait": 1e300}]
)
def test_the_numbers_of_client_and_receiver_are_checked(kit, settings):
    """The same for single numbers."""
    with pytest.raises(BadSetting):
        Client(kit.key, **settings) if "create_attempts" in settings else Receiver(**settings)


@pytest.mark.parametrize("value", ["9" * 400, "99999999999", "1e3", "-1", "٣"])
def test_a_retry_after_of_any_length_is_a_wait(value):
    """Digits are seconds, however many; anything else says nothing."""
    seconds = retry_after({"Retry-After": value}, lambda: 0.0)

    assert seconds == (1e9 if value.isascii() and value.isdigit() else None)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_only_regular_files_are_written(client, service, kit, tmp_path, kind):
    """A pipe or a device is not replaced by a video; found out before anything is sent, and by `download` too."""
    out = tmp_path / "out.mp4"
    if kind == "fifo":
        os.mkfifo(out)
    else:
        out.symlink_to("/dev/null")

    with pytest.raises(ConfigError, match="not a regular file"):
        client.generate(kit.image, out, overwrite=True)
    with pytest.raises(DownloadError, match="not a regular file"):
        client.download(f"{kit.files}/a.mp4", out)

    assert service.calls == []
    assert not stat.S_ISREG(out.stat().st_mode)


def test_a_file_that_the_disk_cut_is_no_success(client, kit, tmp_path, monkeypatch):
    """What is on the disk is compared with what was received."""
    real = os.fsync

    def cut(handle):
        real(handle)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.ftruncate(handle, 100)

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(DownloadError, match="100 of"):
        client.download(f"{kit.files}/a.mp4", tmp_path / "out.mp4")

    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_no_regular_file_is_refused(client, service, tmp_path):
    """A pipe would be waited for, a device has no end."""
    os.mkfifo(tmp_path / "frame.png")
    for image in (tmp_path / "frame.png", "/dev/zero"):
        with pytest.raises(RequestInvalid, match="not a regular file"):
            client.create(image)

    assert service.calls == []


def test_a_long_url_is_no_file_name(client, service):
    """Signed URLs are longer than a file system's names."""
    client.create("https://image.test/" + "a" * 1000 + ".jpg")

    assert len(service.seen("create")) == 1


def test_a_running_task_is_not_called_failed_or_completed(client, service, kit, tmp_path):
    """A download of one that is not over says so."""
    service.on("poll", kit.answer(kit.task("processing")))

    with pytest.raises(ResultMissing, match=r"is not completed \(processing\)"):
        client.download(client.get(kit.task_id), tmp_path / "out.mp4")


def test_a_charge_beyond_all_numbers_is_no_charge(client, service, kit, tmp_path):
    """Whatever the service says of money, the run goes on."""
    for odd in (10**400, float("inf"), float("nan"), "5", True):
        usage = {"credits_used": odd, "cost": {"usd": odd}}
        service.on("poll", kit.answer(kit.task("completed", usage=usage)))
        client.generate(kit.image, tmp_path / f"{str(odd)[:5]}.mp4")


@pytest.fixture
def run(kit, service, monkeypatch, tmp_path, capfd):
    """Runs the command; gives exit code, stderr, and the result file's content."""
    with kit.serving(service) as url:
        service.on("poll", kit.answer(kit.task("completed", results=[f"{url}/a.mp4"])))
        monkeypatch.setenv("KLING_BASE_URL", url)
        monkeypatch.setenv("KLING_API_KEY", kit.key)
        monkeypatch.setenv("KLING_RESULT", str(tmp_path / "result.json"))
        monkeypatch.setenv("KLING_MIN_POLL", "0.01")

        def run(*arguments):
            code = cli.run([*arguments])
            result = tmp_path / "result.json"
            return code, capfd.readouterr().err, json.loads(result.read_text()) if result.is_file() else None

        yield run


def test_being_stopped_after_the_video_is_saved_is_success(run, kit, monkeypatch, tmp_path):
    """While late callbacks are still listened to: 0, and the record is gone."""

    def stopped(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("kling_client.timing.sleep", stopped)
    code, _stderr, result = run(
        "generate", kit.image, "--out", "out.mp4", "--callback-url", "https://h.example.com/", "--callback-port", "0"
    )

    assert (code, result["outcome"], result["effects"]) == (0, "completed", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "result.json"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_while_the_video_gets_its_name_is_success(run, kit, monkeypatch, tmp_path, sent):
    """Between the last byte and the report nothing is torn apart."""
    from pathlib import Path

    real = Path.replace

    def replace(path, target):
        result = real(path, target)
        if str(target).endswith(".mp4"):
            signal.raise_signal(sent)
        return result

    monkeypatch.setattr(Path, "replace", replace)
    code, _stderr, result = run("generate", kit.image, "--out", "out.mp4")

    assert (code, result["outcome"]) == (0, "completed")
    assert not (tmp_path / "out.mp4.kling.json").exists()


def test_being_stopped_before_that_is_not(run, kit, monkeypatch, tmp_path, service):
    """While the video comes in: 10, no file, and the record to resume by."""

    done = threading.Event()

    def stop(_call):
        os.kill(os.getpid(), signal.SIGTERM)
        done.wait(30)
        return kit.video()

    service.on("link", stop)
    code, _stderr, result = run("generate", kit.image, "--out", "out.mp4")
    done.set()

    assert (code, result["outcome"]) == (10, "gave_up")
    assert not (tmp_path / "out.mp4").exists()
    assert (tmp_path / "out.mp4.kling.json").exists()


URL = "https://x.test/a.jpg"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--callback-url", "https://h.example.com/", "--callback-port", "70000"],
        ["--callback-url", "https://h.example.com/", "--callback-port", "-1"],
        ["--deadline", "nan"],
        ["--deadline", "inf"],
        ["--min-poll", "1e300"],
        ["--timeout", "1e10"],
        ["--linger", "-1"],
        ["--linger", "nan"],
        ["--base-url", "http://127.0.0.1:70000"],
        ["--base-url", "https://a..b"],
        ["--base-url", f"https://{'a' * 70}.test"],
    ],
)
def test_numbers_and_addresses_that_make_no_sense_are_usage_errors(run, service, arguments):
    """2, one line, nothing sent; never a fault of the program."""
    code, stderr, _result = run("generate", URL, *arguments)

    assert (code, stderr.count("\n")) == (2, 1), stderr
    assert service.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "https://x.test/%zz.jpg"],
        ["generate", URL, "--callback-url", "https://h.example.com/%zz"],
        ["generate", URL, "--prompt", "\udcff"],
        ["generate", URL, "--field", "x\udcff=1"],
        ["resume", "\udcff"],
        ["status", "\udcff"],
    ],
)
def test_text_that_makes_no_sense_is_refused(run, service, tmp_path, arguments):
    """4, one line, nothing sent, and no record of a create that never was."""
    code, stderr, _result = run(*arguments)

    assert code == 4, stderr
    assert "fault of this program" not in stderr
    assert service.calls == []
    assert not list(tmp_path.glob("*.kling.*"))


def test_a_result_file_that_cannot_be_written_changes_nothing_else(run, kit, monkeypatch, tmp_path):
    """One line says so; the video is there, and so is its exit code."""
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "none" / "result.json", tmp_path / "folder"):
        monkeypatch.setenv("KLING_RESULT", str(target))
        code, stderr, _result = run("generate", kit.image, "--out", "out.mp4", "--overwrite")
        assert code == 0
        assert "cannot write KLING_RESULT" in stderr
    assert (tmp_path / "out.mp4").read_bytes() == kit.video_bytes


def test_a_device_as_result_file_is_written_to(run, kit, monkeypatch, tmp_path):
    """Not replaced by a file."""
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    monkeypatch.setenv("KLING_RESULT", str(link))

    assert run("generate", kit.image, "--out", "out.mp4")[0] == 0
    assert link.is_symlink()


def test_a_key_that_json_spells_in_another_way_is_hidden(run, kit, service, monkeypatch, capfd):
    """A quotation mark in it is escaped in JSON; it is hidden before that."""
    key = 'sk-"quoted\\key"'
    monkeypatch.setenv("KLING_API_KEY", key)
    service.on("poll", kit.answer({**kit.task("processing"), "note": f"for {key}", key: 1}))

    assert cli.run(["status", kit.task_id, "--json"]) == 0
    stdout = capfd.readouterr().out

    assert json.loads(stdout)["note"] == "for ***"
    assert "quoted" not in stdout


def test_headers_that_drip_end_with_the_total(kit):
    """A byte of a header now and then holds no call beyond its time."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _peer = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"a")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(kit.key, url, timeouts=Timeouts(5, 5, 0.3))
        with pytest.raises(NetworkError, match=r"after 0\.3 s") as caught:
            client.get(kit.task_id)
        done.set()
        thread.join()
    assert caught.value.sent


def test_a_caller_who_drips_is_ended_at_the_limit():
    """The receiver's limit is for the whole request, not for each byte."""
    done = threading.Event()
    with listening(Receiver(), 0, limit=0.2) as port, socket.create_connection(("127.0.0.1", port)) as caller:
        caller.settimeout(30)
        caller.sendall(b"POST / HTTP/1.1\r\nX-Long: ")

        def drip():
            while not done.wait(0.02):
                try:
                    caller.sendall(b"a")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            heard = caller.recv(1)
        except ConnectionError:
            heard = b""
        done.set()
        thread.join()
    assert heard == b""


def test_the_receivers_limit_is_the_contracts(monkeypatch):
    """What the service gives an attempt; a limit of another length would be a number of our own."""
    from kling_client.contract import shipped

    assert shipped().callback_timeout == 10


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_is_none_is_a_usage_error(port):
    """Before the system is asked."""
    with pytest.raises(ConfigError, match="ports go from 0 to 65535"), listening(Receiver(), port):
        pass


@pytest.mark.parametrize(("status", "taken"), [(200, True), (201, True), (299, True), (300, False), (399, False)])
def test_every_success_is_one(client, service, kit, status, taken):
    """All of 2xx, and nothing above."""
    service.on("poll", kit.answer(kit.task("processing"), status))

    if taken:
        assert client.get(kit.task_id).status == "processing"
    else:
        with pytest.raises(RedirectRefused):
            client.get(kit.task_id)


@pytest.mark.parametrize(("length", "usable"), [(1, True), (199, True), (200, True), (201, False), (1000, False)])
def test_how_long_an_id_may_be(client, service, kit, length, usable):
    """Two hundred characters, wherever it comes from: the caller, or the answer to a create."""
    name = "x" * length
    service.on("create", kit.answer(kit.task(id=name)))
    service.on("poll", kit.answer(kit.task("processing", id=name)))

    if usable:
        assert client.create(kit.image).id == client.get(name).id == name
    else:
        with pytest.raises(RequestInvalid, match="that is no task id"):
            client.get(name)
        with pytest.raises(KlingError, match="no task id"):
            client.create(kit.image)
        assert service.seen("poll") == []
