"""Help screens of the three commands: two examples each, which parse, the exit codes, and completion for shells."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kling_client import cli as client
from kling_client import examples as client_examples
from kling_contract.cli import examples as kit_examples
from kling_contract.cli.main import cli as kit
from kling_mock.cli import examples as mock_examples
from kling_mock.cli.main import cli as mock
from kling_mock.cli.verbs import add_verbs

pytestmark = pytest.mark.e2e

add_verbs(mock)
mock_examples.add_examples(mock)
client_examples.add_examples(client.cli)
GROUPS: dict[str, click.Group] = {"kling-mock": mock, "kling-contract": kit, "kling": client.cli}
EXAMPLES = {
    "kling-mock": mock_examples.EXAMPLES,
    "kling-contract": kit_examples.EXAMPLES,
    "kling": client_examples.EXAMPLES,
}
EVERY = sorted((program, name) for program, examples in EXAMPLES.items() for name in examples)


def command_of(program: str, name: str) -> click.Command:
    """A subcommand, as its program finds it."""
    group = GROUPS[program]
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


@pytest.mark.parametrize("program", sorted(GROUPS))
def test_every_command_has_its_examples(program: str) -> None:
    """No command without, no example of a command that is gone."""
    group = GROUPS[program]
    names = {name for name in group.list_commands(click.Context(group)) if not command_of(program, name).hidden}
    assert set(EXAMPLES[program]) == names


@pytest.mark.parametrize(("program", "name"), EVERY)
def test_an_example_is_a_command_line_that_parses(
    program: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each can be pasted: its command and its options exist. What it writes, it writes into this folder."""
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES[program][name]) == 2
    for example in EXAMPLES[program][name]:
        if example.startswith("{"):
            continue
        first, verb, *rest = shlex.split(example.partition(" > ")[0])
        assert (first, verb) == (program, name)
        command = command_of(program, name)
        command.parse_args(click.Context(command, info_name=name, resilient_parsing=False), rest)


@pytest.mark.parametrize(("program", "name"), EVERY)
def test_the_screen_ends_with_them(program: str, name: str) -> None:
    """Examples on lines of their own, then the exit codes."""
    command = command_of(program, name)
    text = command.get_help(click.Context(command, info_name=name))
    for example in EXAMPLES[program][name]:
        assert f"\n    {example}\n" in text
    assert "Exit codes: 0 " in text or "Exit codes: that of COMMAND" in text


@pytest.mark.parametrize("program", sorted(GROUPS))
def test_the_first_screen_has_them_too(program: str) -> None:
    """The help of the program itself, as a user sees it."""
    path = str(Path(sys.executable).with_name(program))
    done = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60, check=True)
    shown = re.findall(rf"^ +({program} .+)$", done.stdout.partition("Examples:")[2], re.MULTILINE)
    assert len(shown) == 2
    assert "Exit codes: 0 " in done.stdout


@pytest.mark.parametrize("program", sorted(GROUPS))
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str, program: str) -> None:
    """The line that a user puts into the shell's start file gives a script."""
    path, variable = str(Path(sys.executable).with_name(program)), f"_{program.upper().replace('-', '_')}_COMPLETE"
    done = subprocess.run(
        [path],
        env={**os.environ, variable: f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert variable in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "typed", "offered"),
    [("kling-mock", "adv", "advance"), ("kling-contract", "mat", "matrix"), ("kling", "gen", "generate")],
)
def test_completion_offers_the_commands(program: str, typed: str, offered: str) -> None:
    """What bash asks when TAB is pressed after the beginning of a command."""
    path, variable = str(Path(sys.executable).with_name(program)), f"_{program.upper().replace('-', '_')}_COMPLETE"
    environment = {**os.environ, variable: "bash_complete", "COMP_WORDS": f"{program} {typed}", "COMP_CWORD": "1"}
    done = subprocess.run([path], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert f"plain,{offered}" in done.stdout.splitlines(), done.stderr
