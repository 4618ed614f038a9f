"""Errors that lead out: each says what is wrong and what to type next. One table for the responses, one for the commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kling_mock.cli.verbs import origin_of
from kling_mock.media.frames import example_images
from kling_mock.web.http import Request
from kling_mock.web.origin import Origins

RESPONSES = [
    # what is sent, the status, what is wrong, what to do
    (("create", {"key": "abc"}), 401, "no valid API key", "any that begins with sk-, such as sk-test"),
    (("create", {"key": "sk-mock-stucky-7"}), 400, "chooses a scenario, and none has this name", "sk-mock-stuck-1"),
    (("create", {"callback_url": "http://hooks.example.com/x"}), 400, "must begin with https://", "--callbacks local"),
    (("create", {"callback_url": "https://10.0.0.5/x"}), 400, "internal address", "--relay https://hooks.example.com="),
    (("create", {"image_start": "https://image.test/cat.jpg"}), 400, "could not be fetched", "WIDTHxHEIGHT.jpg"),
    (("create", {"image_start": "https://nowhere.invalid/a.jpg"}), 400, "could not be fetched", "--images offline"),
    (("call", "POST", "/v1/video/generations"), 404, "Invalid URL", "did you mean 'POST /v1/videos/generations'?"),
    (("call", "GET", "/v1/task/task-unified-1"), 404, "Invalid URL", "did you mean 'GET /v1/tasks/{task_id}'?"),
    (("call", "POST", "/videos/generations"), 404, "Invalid URL", "did you mean 'POST /v1/videos/generations'?"),
    (("call", "PUT", "/v1/videos/generations"), 405, "not allowed", "allowed: POST"),
    (("call", "GET", "/__mock/task"), 400, "no such control call", "did you mean 'GET /__mock/tasks'?"),
    (("call", "POST", "/__mock/advance"), 400, "no such control call", "did you mean 'POST /__mock/clock/advance'?"),
    (("call", "GET", "/__mock/delivery"), 400, "no such control call", "did you mean 'GET /__mock/deliveries'?"),
    (("call", "GET", "/__mock/tasks/task-unified-1"), 404, "there is no task", "`kling-mock tasks` lists them"),
]


@pytest.mark.parametrize(("sent", "status", "wrong", "way_out"), RESPONSES)
def test_a_refusal_says_what_to_do(rig: Any, sent: Any, status: int, wrong: str, way_out: str) -> None:
    """The message holds both halves."""
    response = rig.create(**sent[1]) if sent[0] == "create" else rig.call(sent[1], sent[2])
    assert response.status_code == status
    message = response.json["error"]["message"]
    assert wrong in message
    assert way_out in message


def test_a_key_of_the_list_is_asked_for_where_there_is_a_list(make: Callable[..., Any]) -> None:
    """With --keys the hint is another one; the key that was sent is never repeated."""
    response = make(keys=("sk-one",)).create(key="sk-secret-two")
    assert "those of --keys" in response.json["error"]["message"]
    assert "sk-secret-two" not in response.text


def test_advancing_a_running_clock_names_freeze(make: Callable[..., Any]) -> None:
    """The verb to run first."""
    rig = make(clock="real")
    message = rig.control("POST", "/clock/advance", {"seconds": 1}, status=409)["error"]["message"]
    assert 'run "kling-mock freeze" first' in message


def test_a_control_call_from_another_machine_names_the_token(rig: Any) -> None:
    """How to start the fake so that the call is taken."""
    response = rig.app.test_client().get("/__mock/info", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert "--admin-token TOKEN" in response.json["error"]["message"]


COMMANDS = [
    (
        ["serve", "--scenario", "failed", "code=x"],
        {},
        "unexpected extra argument",
        "Quote a scenario with its parameters",
    ),
    (["exec", "pytest", "-x"], {}, "-x", "Put -- before the command"),
    (["exec", "--scenario", "failed", "code=x", "--", "true"], {}, "code=x", '--scenario "failed code=x"'),
    (["serve", "--set", "starting_credit=5"], {}, "no such setting", "did you mean 'starting_credits'?"),
    (["serve"], {"KLING_MOCK_PORT": "abc"}, "'abc' is not a valid", "from the variable KLING_MOCK_PORT"),
    (["serve", "--port", "0"], {"KLING_MOCK_CLOCK": "fast"}, "fast", "from the variable KLING_MOCK_CLOCK"),
    (["advance", "soon", "--url", "127.0.0.1:9"], {}, "'soon' is not a duration", "5s, 250ms, 2m or 24h"),
    (["exec"], {}, "name the command", "kling-mock exec -- pytest -x"),
    (
        ["serve", "--relay", "hooks.example.com=9000"],
        {},
        "is not an origin",
        "--relay https://hooks.example.com=http://127.0.0.1:9000",
    ),
    (["tasks", "--url", "127.0.0.1:9/v1"], {}, "no fake responds at http://127.0.0.1:9", "kling-mock serve"),
]


KIT = [
    (
        ["server", "127.0.0.1:9"],
        {},
        "http://127.0.0.1:9: the connection was refused",
        "`kling-mock serve` starts a fake",
    ),
    (
        ["server", "example.com"],
        {"KLING_API_KEY": "", "EVOLINK_API_KEY": ""},
        "--api-key is missing",
        "set KLING_API_KEY",
    ),
    (["server", "htp://127.0.0.1"], {}, "is no URL of a server", "http://127.0.0.1:4010"),
    (["server", "127.0.0.1:9", "--mode", "paid"], {}, "needs --max-usd", "the most dollars"),
    (["serve"], {}, "No such command 'serve'", "Did you mean 'server'?"),
    (["frobnicate"], {}, "No such command", "`kling-contract --help` lists them"),
    (["check", "pyproject.toml"], {}, "pyproject.toml:1", "JSON Lines of the kit, a HAR file, or the fake's journal"),
    (
        ["check", "x.har"],
        {"KLING_CONTRACT_SEED": "abc"},
        "'abc' is not a valid integer",
        "from the variable KLING_CONTRACT_SEED",
    ),
    (["rules", "SV-99"], {}, "no such rule: SV-99", "`kling-contract rules` lists them"),
    (["client"], {}, "name the client's command", "after --"),
    (["client", "--story", "happ", "--", "true"], {}, "no such story: happ", "--stories` lists them"),
    (["matrix", "nowhere", "--out", "{tmp}"], {}, "No such file", "`--report DIR` of a run writes it"),
]


@pytest.mark.parametrize(("arguments", "variables", "wrong", "way_out"), KIT)
def test_the_kit_says_what_to_do(
    arguments: list[str], variables: dict[str, str], wrong: str, way_out: str, tmp_path: Path
) -> None:
    """One line with both halves, exit code 2, and no traceback."""
    command = [sys.executable, "-c", "from kling_contract.cli.main import main; main()"]
    typed = [word.replace("{tmp}", str(tmp_path)) for word in arguments]
    done = subprocess.run(
        [*command, *typed], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **variables}
    )
    assert done.returncode == 2
    assert wrong in done.stderr
    assert way_out in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("arguments", "variables", "wrong", "way_out"), COMMANDS)
def test_a_command_says_what_to_do(arguments: list[str], variables: dict[str, str], wrong: str, way_out: str) -> None:
    """One message with both halves, exit code 2, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "kling_mock", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 2
    assert wrong in done.stderr
    assert way_out in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("127.0.0.1:4010", "http://127.0.0.1:4010"),
        ("localhost", "http://localhost"),
        ("localhost:4010/v1", "http://localhost:4010"),
        (":4010", "http://127.0.0.1:4010"),
        ("fake.example", "https://fake.example"),
        ("fake.example:8443/", "https://fake.example:8443"),
        ("http://fake:4010/v1/", "http://fake:4010"),
        ("http://127.0.0.1:4010/__mock", "http://127.0.0.1:4010"),
    ],
)
def test_a_fakes_address_is_taken_as_it_is_typed(typed: str, origin: str) -> None:
    """Without a scheme, with a path that belongs to the API, with a port alone."""
    assert origin_of(typed) == origin


def test_the_documents_own_example_works_without_a_network(make: Callable[..., Any]) -> None:
    """The image of the vendor's example is drawn, in both modes, and its video is made from it."""
    rig = make()
    (example,) = example_images(rig.fake.world.contract)
    response = rig.create(image_start=example)
    assert response.status_code == 200
    rig.advance(600)
    link = rig.shown(response.json["id"])["results"][0]
    assert rig.call("GET", link.removeprefix("http://localhost"), key=None).mimetype == "video/mp4"


HOSTS = [
    ({}, {"Host": "fake:8080"}, "http://fake:8080"),
    ({}, {"Host": "FAKE.example:80"}, "http://fake.example"),
    ({}, {"Host": "[::1]:4010"}, "http://[::1]:4010"),
    ({}, {"Host": "evil.example/x?"}, "http://127.0.0.1:4010"),
    ({}, {"Host": "fake", "X-Forwarded-Host": "outside", "X-Forwarded-Proto": "https"}, "http://fake"),
    (
        {"trust_proxy": True},
        {"Host": "fake", "X-Forwarded-Host": "outside", "X-Forwarded-Proto": "https"},
        "https://outside",
    ),
    ({"trust_proxy": True}, {"Host": "fake", "X-Forwarded-Host": "a, b", "X-Forwarded-Port": "8443"}, "http://a:8443"),
    ({"trust_proxy": True}, {"Host": "fake", "X-Forwarded-Proto": "ftp"}, "http://127.0.0.1:4010"),
    ({"public_url": "https://videos.example"}, {"Host": "fake"}, "https://videos.example"),
]


@pytest.mark.parametrize(("settings", "headers", "origin"), HOSTS)
def test_links_lead_where_the_caller_is(
    make: Callable[..., Any], settings: dict[str, Any], headers: dict[str, str], origin: str
) -> None:
    """By the create's Host, or what a trusted proxy forwards, unless a public URL is set; a Host that is none bends no link."""
    rig = make(**settings)
    lowered = {name.lower(): value for name, value in headers.items()}
    assert Origins(rig.fake.world.settings).of(Request("POST", "/", "", lowered, b"")) == origin


def test_the_origin_of_a_link_is_a_fact_of_the_task(rig: Any) -> None:
    """Query, list of facts, callback and a later read under another name give the link of the create."""
    task = rig.create(headers={"Host": "made.here:1"}, callback_url="https://8.8.8.8/hook").json["id"]
    rig.advance(600)
    shown = rig.query(task, headers={"Host": "read.there:2"}).json["results"][0]
    assert shown.startswith("http://made.here:1/files/")
    assert rig.control("GET", f"/tasks/{task}")["links"][0]["url"] == shown
    assert rig.receiver.calls[0].body["results"] == [shown]


def test_listening_everywhere_never_hands_out_an_address_that_nobody_can_call(make: Callable[..., Any]) -> None:
    """0.0.0.0 is no place to go to: a program on this machine is sent to the loopback."""
    assert make(host="0.0.0.0").fake.world.settings.own_origin == "http://127.0.0.1:4010"
    assert make(host="::").fake.world.settings.own_origin == "http://[::1]:4010"
