"""`kling-contract client --real`: the happy story alone, in front of a billed stand-in."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from standins.service import KEY, Behaviour, Service

from kling_contract.cli.commands.client import command
from kling_contract.reading.contract import shipped
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import SetupError

pytestmark = pytest.mark.e2e
READS = int(rules(shipped())["CP-01"].params["waits"]) + 2
"""Enough waits for CP-01 to judge them however uneven they are."""
CLIENT = """
import json, os, sys, time, urllib.request

base, key, out = sys.argv[1:4]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": os.environ["HTTP_PROXY"]}))

def call(url, body=None, key=key):
    headers = {"Content-Type": "application/json", "User-Agent": "small/1"}
    if key:
        headers["Authorization"] = "Bearer " + key
    data = json.dumps(body).encode() if body else None
    with opener.open(urllib.request.Request(url, data, headers)) as response:
        return response.read()

asked = {"model": "kling-v3-turbo-image-to-video", "image_start": os.environ["KLING_IMAGE"],
         "duration": int(os.environ["KLING_DURATION"]), "quality": os.environ["KLING_QUALITY"]}
task = json.loads(call(base + "/v1/videos/generations", asked))
print(task["id"], task["usage"]["credits_reserved"], flush=True)
while task["status"] not in ("completed", "failed"):
    time.sleep(float(os.environ["KLING_MIN_POLL"]) * 1.2)
    task = json.loads(call(base + "/v1/tasks/" + task["id"]))
with open(out, "wb") as file:
    file.write(call(task["results"][0], key=""))
"""

ADAPTER = (
    CLIENT.partition("asked = ")[0].replace("base, key, out = sys.argv[1:4]", "")
    + """
for line in sys.stdin:
    message = json.loads(line)
    if message["op"] == "hello":
        print(json.dumps({"op": "hello", "protocol": 1, "client": {"name": "small"}, "can": ["poll", "download"],
                          "min_poll_s": 0.4}), flush=True)
    elif message["op"] == "run":
        base, key = message["base_url"], message["api_key"]
        asked = {"model": "kling-v3-turbo-image-to-video", **message["request"]}
        task = json.loads(call(base + "/v1/videos/generations", asked, key))
        while task["status"] not in ("completed", "failed"):
            time.sleep(0.5)
            task = json.loads(call(base + "/v1/tasks/" + task["id"], key=key))
        with open(message["save_to"], "wb") as file:
            file.write(call(task["results"][0], key=""))
        print(json.dumps({"op": "done", "case": message["case"], "outcome": "completed", "task_id": task["id"],
                          "files": [{"path": message["save_to"]}], "effects": 1}), flush=True)
    else:
        break
"""
).replace("body=None, key=key", "body=None, key='never'")


@pytest.fixture
def service() -> Iterator[Service]:
    """An honest service."""
    with Service(Behaviour(reads=READS)) as running:
        yield running


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority of these tests is their own, and no key comes from the environment."""
    monkeypatch.setenv("KLING_MOCK_HOME", str(tmp_path / "home"))
    for name in ("KLING_API_KEY", "EVOLINK_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def real(tmp_path: Path, service: Service, *options: str) -> Result:
    """The command with a client that is right."""
    file = tmp_path / "client.py"
    file.write_text(CLIENT)
    words = ["--real", "--upstream", service.url, "--min-poll", "0.3", "--deadline", "20", *options]
    command_line = ["--", sys.executable, str(file), "{base_url}", "{api_key}", "{out}"]
    return CliRunner().invoke(command, [*words, *command_line], standalone_mode=False)


def test_one_story_one_create_and_its_plan_first(service: Service, tmp_path: Path) -> None:
    """The plan, then the run; the rules of the happy story are judged as in the lab."""
    result = real(tmp_path, service, "--api-key", KEY, "--max-usd", "1", "--report", str(tmp_path / "report"))

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert len(service.ledger.rows) == 1
    assert service.ledger.rows[0]["credits"] == 21.6
    lines = result.output.splitlines()
    assert lines[0].startswith("plan: one story, happy: the client is asked for one video of 3 s in 720p")
    assert "at worst $0.64" in lines[2]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    passed = {rule["id"] for rule in report["rules"] if rule["verdict"] == "pass"}
    assert {"CQ-01", "CQ-02", "CQ-08", "CM-01", "CP-01", "CP-07", "CD-01", "CD-02", "CD-03"} <= passed
    assert KEY not in result.output
    assert KEY not in (tmp_path / "report" / "history.jsonl").read_text()


def test_an_adapter_of_json_lines_is_led_through_the_proxy_as_well(service: Service, tmp_path: Path) -> None:
    """One create; its download is recorded too, and the pace that it declares is the one that it is held to."""
    file = tmp_path / "adapter.py"
    file.write_text(ADAPTER)
    words = [
        "--real",
        "--upstream",
        service.url,
        "--api-key",
        KEY,
        "--max-usd",
        "1",
        "--deadline",
        "20",
        "--adapter",
        "jsonl",
    ]
    report = tmp_path / "report"
    result = CliRunner().invoke(
        command, [*words, "--report", str(report), "--", sys.executable, str(file)], standalone_mode=False
    )
    assert (result.exception, result.return_value) == (None, 0), result.output
    assert len(service.ledger.rows) == 1
    rules = json.loads((report / "report.json").read_text())["rules"]
    assert {"CQ-01", "CP-01", "CD-01", "CD-02", "CD-03"} <= {rule["id"] for rule in rules if rule["verdict"] == "pass"}
    assert '"min_poll":0.4' in (report / "history.jsonl").read_text()


def test_an_adapter_that_says_nothing_is_one_line(service: Service, tmp_path: Path) -> None:
    """Nothing is sent."""
    words = ["--real", "--upstream", service.url, "--api-key", KEY, "--max-usd", "1", "--adapter", "jsonl"]
    result = CliRunner().invoke(
        command, [*words, "--", sys.executable, "-c", "raise SystemExit('no licence')"], standalone_mode=False
    )
    assert isinstance(result.exception, SetupError), result.output
    assert "the adapter did not say hello: no licence" in str(result.exception)
    assert service.ledger.seen == []


def test_below_its_price_nothing_is_sent(service: Service, tmp_path: Path) -> None:
    """The client gets the service's 402 from the guard."""
    result = real(tmp_path, service, "--api-key", KEY, "--max-usd", "0.5")
    assert service.ledger.creates == []
    assert "not sent: " in result.output
    assert "raise --max-usd" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--api-key", KEY), "--max-usd"),
        (("--max-usd", "1"), "--api-key"),
        (("--max-usd", "1", "--api-key", KEY, "--upstream", "https://api.example.com"), "--image"),
        (("--max-usd", "1", "--api-key", KEY, "--upstream", "ftp://x"), "is no URL"),
        (("--max-usd", "1", "--api-key", KEY, "--story", "happy"), "--story does not go with it"),
        (("--max-usd", "1", "--api-key", KEY, "--drawn", "3"), "--drawn does not go with it"),
    ],
)
def test_bad_input_is_one_line(service: Service, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """Before anything is sent."""
    result = real(tmp_path, service, *options)
    assert isinstance(result.exception, SetupError | click.UsageError), result.output
    assert said in str(result.exception)
    assert service.ledger.seen == []
