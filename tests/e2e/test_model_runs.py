"""`kling-contract server --model NAME` on the fake: no false alarm for models of every kind, and one line for a model that is not there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from kling_contract.cli.main import cli
from kling_contract.mutants.called import Called, application
from kling_contract.mutants.serving import fake
from kling_contract.mutants.trial import try_correct

pytestmark = pytest.mark.e2e

KINDS = (
    "kling-v3-turbo-image-to-video",
    "kling-o3-text-to-video",
    "kling-v3-motion-control",
    "kling-custom-element",
    "wan2.7-image-to-video",
)
"""The document's own; shots that add up; as long as its input; no video at all; conditional fields and sound."""


@pytest.fixture(scope="module", name="url")
def url_fixture() -> Iterator[str]:
    """A fake that runs share."""
    with fake() as url:
        yield url


@pytest.fixture(scope="module", name="correct")
def correct_fixture() -> Iterator[Called]:
    """A fake that is called, which costs half of one behind sockets: the self-test has those."""
    with application() as correct:
        yield correct


# CI has the self-test, which begins with the document's own model, and the whole run below for one of the second kind.
@pytest.mark.parametrize("model", [*(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[:2]), *KINDS[2:]])
def test_the_fake_is_not_blamed(correct: Called, model: str) -> None:
    """Nothing is named in a scripted run of the model, and nothing could not be tested."""
    trial = try_correct(correct, 8_000 + KINDS.index(model), model)

    assert trial.problem == ""


def test_the_drawn_part_of_a_run_knows_the_model_too(url: str) -> None:
    """Schemathesis and drawn stories stand on the model's own file."""
    asked = ["server", url, "--model", "kling-o3-image-to-video", "--seed", "3", "--api-key", "sk-drawn"]
    result = CliRunner().invoke(cli, asked, standalone_mode=False)

    assert result.return_value == 0, result.output
    assert "schema: " in result.output
    assert "machine: " in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "kling-v9"], "there is no model 'kling-v9'; there are kling-v3-turbo"),
        (["--contract", __file__], "test_model_runs.py"),
    ],
)
def test_what_is_not_there_is_one_line(url: str, words: list[str], said: str) -> None:
    """A model that no file has, and a file that is no contract: exit code 2, no traceback, no talk of a failure of the kit."""
    command = [str(Path(sys.executable).with_name("kling-contract")), "server", url, *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 2
    assert said in ran.stderr
    assert "the kit failed" not in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_server_without_the_model_is_one_line() -> None:
    """It is said before anything is judged."""
    with fake(["--models", "kling-v3-turbo-image-to-video"]) as alone:
        result = CliRunner().invoke(cli, ["server", alone, "--model", "kling-o3-text-to-video"], standalone_mode=False)

    assert "does not serve kling-o3-text-to-video" in str(result.exception)
