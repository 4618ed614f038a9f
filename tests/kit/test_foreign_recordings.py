"""HAR files in the shapes of browsers, proxies and test tools: the same job is read out of each, and judged the same.

The files in `recordings/` are small and made by hand in each tool's shape: a byte order mark and tunnels (Fiddler), bodies in base64
and a zone in dates (Charles), HTTP/2 pseudo headers, preflights, sanitised headers and a cut connection (Chrome), other hosts' traffic
(Firefox), no times (Playwright), a body that was parsed already (Insomnia), no timings at all, several jobs out of order.
"""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kling_contract.cli.commands.check import command
from kling_contract.history.events import AnyEvent, Download, Exchange, HistoryError
from kling_contract.judging import judge_history
from kling_contract.reading.contract import shipped
from kling_contract.reading.recordings import read
from kling_contract.reading.view import View
from kling_contract.rules.verdicts import Choice, Run

FOLDER = Path(__file__).with_name("recordings")
KEY = "sk-recorded-4711-abcdef"
TASK = "task-unified-1763632800-7cvnl5zw"
BEGAN = 1763632800.0
WHOLE = ("charles", "fiddler", "firefox", "mitmproxy", "no-timings", "playwright")
"""Tools that keep everything."""
EVERY = (*WHOLE, "chrome", "insomnia", "several-jobs", "wrong-client")


def events(name: str) -> list[AnyEvent]:
    """The events of one file."""
    return read(FOLDER / f"{name}.har")


def judged(name: str) -> Run:
    """Its verdicts."""
    return judge_history(events(name), Choice(), lambda rule: rule)


def broken(run: Run) -> dict[str, str]:
    """The rules that it breaks, with their results; a MAY weighs nothing."""
    return {one.rule.id: str(one.result) for one in run.verdicts if one.findings and str(one.result) != "info"}


def test_every_file_is_tried() -> None:
    """And nothing else lies in the folder."""
    assert {path.stem for path in FOLDER.iterdir()} == set(EVERY)


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_job_is_read_out_of_each(name: str) -> None:
    """One create, four reads, one download, at the same moments, by one account."""
    found = events(name)
    calls = [event for event in found if isinstance(event, Exchange)]
    assert [call.method for call in calls] == ["POST", "GET", "GET", "GET", "GET"]
    assert [round(call.at - BEGAN, 3) for call in calls] == [0, 15, 27, 39, 51]
    assert len({call.who for call in calls}) == 1
    assert calls[0].who.startswith("key-")
    (download,) = [event for event in found if isinstance(event, Download)]
    assert (download.status, download.who) == (200, "")
    assert download.size == 68
    view = View(found, shipped())
    assert list(view.tasks) == [TASK]
    assert view.tasks[TASK].create is not None
    assert view.tasks[TASK].create.flaws == ()


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_verdicts_come_of_each(name: str) -> None:
    """A right client in front of a right service, whichever tool looked on."""
    run = judged(name)
    assert broken(run) == {}
    passed = {one.rule.id for one in run.verdicts if str(one.result) == "pass"}
    assert {"CQ-01", "CQ-04", "CQ-08", "CP-01", "CP-07", "SL-01", "SL-03", "SL-10", "SW-03"} <= passed


def test_headers_that_a_browser_blotted_out_are_not_held_against_the_client() -> None:
    """No Authorization in the file is no proof of none on the wire; preflights are no calls; a cut poll is a lost one."""
    run = judged("chrome")
    assert broken(run) == {}
    results = {one.rule.id: str(one.result) for one in run.verdicts}
    assert results["CQ-01"] == "not-run"
    assert results["SA-01"] == "not-run"
    calls = [event for event in run.events if isinstance(event, Exchange)]
    assert [call.method for call in calls] == ["POST", *["GET"] * 5]
    (lost,) = [call for call in calls if call.answer is None]
    assert "RESET" in lost.lost
    assert results["CP-06"] in ("pass", "not-run")


def test_a_body_that_was_parsed_already_is_a_body() -> None:
    """Insomnia's post data is JSON, not text; without downloads nothing is said of them."""
    run = judged("insomnia")
    assert broken(run) == {}
    assert View(run.events, shipped()).creates[0].asked("duration") == 5
    assert {str(one.result) for one in run.verdicts if one.rule.id in ("CD-03", "SK-02")} == {"not-run"}


def test_several_jobs_in_one_file_are_kept_apart() -> None:
    """Interleaved, and out of order in the file."""
    run = judged("several-jobs")
    view = View(run.events, shipped())
    assert len(view.tasks) == 2
    assert all(len(task.reads) == 4 and len(task.downloads) == 1 for task in view.tasks.values())
    assert broken(run) == {}


def test_a_client_that_is_wrong_is_found_out() -> None:
    """Polls each second, the key at the file host, a create again after a lost reply: MUST rules, and they fail the run."""
    run = judged("wrong-client")
    found = broken(run)
    assert (found["CM-02"], found["CQ-04"]) == ("fail", "fail")
    assert "CP-01" in found
    assert run.exit == 1


@pytest.mark.parametrize("name", EVERY)
def test_no_key_is_left_in_a_report(name: str, tmp_path: Path) -> None:
    """Wherever the tool had written it."""
    result = CliRunner().invoke(
        command, [str(FOLDER / f"{name}.har"), "--report", str(tmp_path)], standalone_mode=False
    )
    assert result.exception is None, result.output
    texts = [result.output, *(path.read_text() for path in tmp_path.iterdir())]
    assert not any(KEY in text for text in texts)


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Run:
    """The verdicts of a recording whose every entry was changed."""
    document = json.loads((FOLDER / "mitmproxy.har").read_text())
    for entry in document["log"]["entries"]:
        change(entry)
    file = tmp_path / "changed.har"
    file.write_text(json.dumps(document))
    return judge_history(read(file), Choice(), lambda rule: rule)


@pytest.mark.parametrize(
    "mark",
    [
        "REDACTED",
        "[REDACTED]",
        "<redacted>",
        "***",
        "[Filtered]",
        "(hidden)",
        "xxxx",
        "value_removed",
        "",
        "{{secret}}",
    ],
)
def test_a_mark_in_the_place_of_a_whole_credential_is_no_credential(mark: str, tmp_path: Path) -> None:
    """The client may have sent the right one: no rule about keys is judged, and nothing else changes."""

    def blot(entry: dict[str, Any]) -> None:
        for pair in entry["request"]["headers"]:
            if pair["name"].lower() == "authorization":
                pair["value"] = mark

    run = changed(tmp_path, blot)
    assert broken(run) == {}
    assert {str(one.result) for one in run.verdicts if one.rule.id == "CQ-01"} == {"not-run"}


def test_a_key_without_its_scheme_is_still_one(tmp_path: Path) -> None:
    """What looks like a credential is what the client sent."""

    def bare(entry: dict[str, Any]) -> None:
        for pair in entry["request"]["headers"]:
            pair["value"] = pair["value"].removeprefix("Bearer ")

    assert "CQ-01" in broken(changed(tmp_path, bare))


def test_bodies_as_they_were_packed_and_urls_with_their_port_are_read(tmp_path: Path) -> None:
    """The same job as ever."""

    def packed(entry: dict[str, Any]) -> None:
        entry["request"]["url"] = entry["request"]["url"].replace("https://", "HTTPS://").replace(".ai/", ".AI:443/")
        content = entry["response"]["content"]
        if content.get("encoding") != "base64" and "text" in content:
            content |= {
                "text": base64.b64encode(gzip.compress(content["text"].encode())).decode(),
                "encoding": "base64",
            }

    run = changed(tmp_path, packed)
    assert broken(run) == {}
    assert {"SL-01", "SL-10", "CD-02"} <= {one.rule.id for one in run.verdicts if str(one.result) == "pass"}


def test_a_har_without_entries_is_one_line(tmp_path: Path) -> None:
    """What is wrong, and what to do."""
    file = tmp_path / "empty.har"
    file.write_text('{"log": {"version": "1.2"}}')
    with pytest.raises(HistoryError, match=r"without log\.entries; export it again"):
        read(file)
