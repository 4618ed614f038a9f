"""Whatever `kling-mock` is told wrongly, it says so in one line with what would be right, and ends with exit code 2."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kling_openapi
from kling_mock.cli import main as cli
from kling_mock.serving import server as serving

Start = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Start:
    """`refused("--clock", "x")`: what `kling-mock serve` says; fails where it would have served."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("it would have served")

    monkeypatch.setattr(serving, "run", started)

    def run(*options: str, command: str = "serve") -> str:
        port = () if "--port" in options else ("--port", "0")
        monkeypatch.setattr(sys, "argv", ["kling-mock", command, *port, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (2, "")
        lines = [line for line in said.err.splitlines() if not line.startswith(("Usage: ", "Try "))]
        message = [line for line in lines if line.strip()]
        assert len(message) == 1, said.err
        return message[0]

    return run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nonsense",), "No such option"),
        (("--port", "70000"), "70000"),
        (("--port", "x"), "not a valid integer"),
        (("--host", "256.1.1.1"), "--host"),
        (("--host", "192.0.2.77"), "--host"),
        (("--workers", "0"), "0"),
        (("--workers", "4"), "4"),
        (("--store", "redis://x"), "--store"),
        (("--clock", "slow"), "--clock"),
        (("--clock", "x"), "--clock"),
        (("--clock", "x0"), "--clock"),
        (("--clock", "x-1"), "--clock"),
        (("--clock", "x99999999999"), "--clock"),
        (("--clock", "60"), "--clock"),
        *((("--start", moment), "--start") for moment in ("nan", "inf", "-inf", "1e308", "-1e16", "9" * 400)),
        (("--start", "tomorrow"), "2025-09-06T14:42:23Z"),
        (("--seed", "x"), "not a valid integer"),
        (("--scenario", "nonsense"), "no scenario 'nonsense'"),
        (("--scenario", "failed code=nonsense"), "nonsense"),
        (("--scenario", "failed nonsense=1"), "has no param"),
        (("--scenario", "failed code"), "write it like"),
        (("--scenario", ""), "no scenario"),
        (("--scenarios", "/nonexistent"), "not a folder"),
        (("--callbacks", "none"), "strict"),
        (("--relay", "nonsense"), "NAME=VALUE"),
        (("--relay", "nonsense=http://127.0.0.1:1"), "not an origin"),
        (("--relay", "https://a.example.com=nonsense"), "not an origin"),
        (("--relay", "https://a.example.com/path=http://127.0.0.1:1"), "has a path"),
        (("--relay", "https://a.example.com=http://127.0.0.1:99999"), "not an origin"),
        (("--images", "none"), "offline"),
        (("--error-codes", "old"), "legacy"),
        (("--profile", "nonsense"), "neither a profile"),
        (("--set", "nonsense"), "NAME=VALUE"),
        (("--set", "nonsense=1"), "--set nonsense: there is no such setting"),
        (("--set", "bad_image=maybe"), "bad_image"),
        (("--set", "expired_link_status=500"), "expired_link_status"),
        (("--set", "max_body_bytes=10"), "max_body_bytes"),
        (("--set", "max_body_bytes=many"), "max_body_bytes"),
        (("--set", "credits_per_second=5"), "credits_per_second"),
        (("--set", "credits_per_second={720p: -1}"), "credits_per_second"),
        (("--set", "bad_image=["), "bad_image"),
        (("--set", "starting_credits=.nan"), "starting_credits"),
        (("--public-url", "nonsense"), "--public-url"),
        (("--public-url", "ftp://a.example.com"), "--public-url"),
        (("--contract", "/nonexistent.yaml"), "/nonexistent.yaml"),
        (("--contract", "/"), "/"),
        (("--callback-ca", "/nonexistent.pem"), "/nonexistent.pem"),
        (("--journal", "0"), "0"),
        (("--journal", "x"), "not a valid integer"),
        (("--keys", ""), "--keys"),
        (("--keys", ",,"), "--keys"),
        (("stray",), "stray"),
    ],
)
def test_a_bad_option_is_one_line(refused: Start, options: tuple[str, ...], words: str) -> None:
    """It names the option or the value, and what is allowed."""
    assert words in refused(*options)


def test_a_taken_port_is_one_line(refused: Start) -> None:
    """With the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        assert "--port 0 takes a free one" in refused("--port", str(taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: a\nsummary: b\npace:\n  runs: soon\n", 4, "not a duration"),
        ("name: a\nsummary: b\noutcome:\n  status: failed\n", 3, "has a code"),
        ("name: Bad Name\nsummary: b\n", 1, "name"),
        ("summary: b\n", 1, "name"),
        ("name: a\nsummary: b\nsurprise: 1\n", 3, "surprise"),
        ("name: a\nsummary: b\n---\nname: c\nsummary: d\npace: {by: magic}\n", 6, "'time' or 'polls'"),
        ("name: a\nsummary: b\nwhen: {create: 0}\nanswer: {status: 500}\n", 3, "does not count calls"),
        ("name: a\nsummary: b\nwhen: {create: 1}\nanswer: {status: 99}\n", 4, "200"),
        ("name: a\nsummary: b\nwhen: {create: 1}\nanswer: {error: Nonsense}\n", None, "Nonsense"),
        ("name: a\nsummary: b\noutcome: {status: failed, code: nonsense}\n", None, "nonsense"),
        ("name: a\nsummary: b\nmixture: {nonsense: 1}\n", None, "nonsense"),
        ("name: a\nsummary: b\nmixture: {completed: 0}\n", 3, "greater than 0"),
        ("- name: a\n", 1, ""),
        ("just text\n", 1, ""),
        ("name: [\n", None, "YAML"),
        ("name: a\nsummary: b\nx: !!python/object:os.system {}\n", None, "YAML"),
        ("\x00", None, "YAML"),
    ],
)
def test_a_bad_scenario_file_is_one_line(
    refused: Start, tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    """With the file, the line where there is one, and what is allowed."""
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    said = refused("--scenarios", str(tmp_path))

    assert words in said
    assert f"mine.yaml:{line}:" in said if line else "mine.yaml" in said or "scenario a" in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("maximum: 15", "maximum: 15\n      surprise: 1", "unknown schema keyword"),
        ("x-short-side: 720", "x-short-sides: 720", "unknown extension"),
        ("retry_delays_seconds: [1, 2, 4]", "retry_delays_seconds: [1, -2]", "minimum"),
        ("retry_delays_seconds: [1, 2, 4]", "retry_delays_seconds: soon", "array"),
        ("follow_redirects: false", "follow_redirects: true", "false"),
        ("openapi: 3.1.0", "openapi: 3.0.3", "3.1"),
        ("openapi: 3.1.0", "openapi: [", "YAML"),
        ("operationId: getTask\n      tags", "operationId: readTask\n      tags", "getTask"),
        ("    Duration:\n", "    Durations:\n", "Duration"),
        ('pattern: "^task-unified-"', 'pattern: "["', ""),
        ("maximum: 15", "maximum: fifteen", ""),
    ],
)
def test_a_bad_contract_is_one_line(refused: Start, tmp_path: Path, old: str, new: str, words: str) -> None:
    """With the file, and the place or the part that is missing."""
    text = kling_openapi.SERVICE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "contract.yaml").write_text(text.replace(old, new), encoding="utf-8")
    said = refused("--contract", str(tmp_path / "contract.yaml"))

    assert "contract.yaml" in said
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "mapping"),
        ("[", "YAML"),
        ("nonsense: 1\n", "nonsense"),
        ("bad_image: maybe\n", "bad_image"),
        ("\x00", "YAML"),
    ],
)
def test_a_bad_profile_is_one_line(refused: Start, tmp_path: Path, text: str, words: str) -> None:
    """A file of choices that cannot be made."""
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")

    assert words in refused("--profile", str(tmp_path / "mine.yaml"))


def test_a_variable_is_judged_like_its_option(refused: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """KLING_MOCK_CLOCK and its kin."""
    monkeypatch.setenv("KLING_MOCK_CLOCK", "slow")

    assert "slow" in refused()


def test_bytes_that_are_no_text_are_one_line(refused: Start, tmp_path: Path) -> None:
    """Whichever file they stand in."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x80")

    for options in (
        ("--scenarios", str(tmp_path)),
        ("--profile", str(path)),
        ("--contract", str(path)),
        ("--callback-ca", str(path)),
    ):
        assert "mine.yaml" in refused(*options)
