"""Help screens: two examples each, which are commands that exist, the exit codes, and completion for shells."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kling_mock.cli.examples import EXAMPLES, add_examples
from kling_mock.cli.main import cli
from kling_mock.cli.verbs import add_verbs

pytestmark = pytest.mark.e2e
KLING_MOCK = str(Path(sys.executable).with_name("kling-mock"))

add_verbs(cli)
add_examples(cli)


def test_every_command_has_its_examples() -> None:
    """No command without, no example of a command that is gone."""
    assert set(EXAMPLES) == {name for name, command in cli.commands.items() if not command.hidden}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_a_command_line_that_parses(name: str) -> None:
    """Each can be pasted: its command and its options exist."""
    for example in EXAMPLES[name]:
        if example.startswith("{"):
            continue
        program, verb, *rest = shlex.split(example.partition(" > ")[0])
        assert (program, verb) == ("kling-mock", name)
        command = cli.commands[name]
        command.parse_args(click.Context(command, info_name=name, resilient_parsing=False), rest)


def test_the_screen_shows_them() -> None:
    """Examples on lines of their own, then the exit codes."""
    done = subprocess.run([KLING_MOCK, "exec", "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "Examples:\n    kling-mock exec -- pytest -x\n" in done.stdout
    assert "Exit codes: that of COMMAND" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    """The line that a user puts into the shell's start file gives a script."""
    done = subprocess.run(
        [KLING_MOCK],
        env={**os.environ, "_KLING_MOCK_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_KLING_MOCK_COMPLETE" in done.stdout, done.stderr
