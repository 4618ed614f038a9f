"""The words of docs, help texts and docstrings: standard terms in place of a private English (the list is short on purpose)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click

from kling_client.cli import cli as client
from kling_contract.cli.main import cli as kit
from kling_mock.cli.main import cli as fake
from kling_mock.cli.verbs import add_verbs

ROOT = Path(__file__).parent.parent
CODE = ("common", "openapi", "mock_server", "contract_tests", "clients/python", "scripts", "examples", "benchmarks")
BANNED = re.compile(
    r"\b((?i:told|(?<!wire:)beside|nobody|somebody|manners|strangers?|at home|elsewhere)|(?<![Tt]here )(?:is|are) none)\b"
)
"""What each word should have been: said or given; next to or besides; no one by name; polling rules; a third party; does not exist."""

CODE_SPAN = re.compile(r"`[^`\n]+`")


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring of the code, attribute docstrings included, with its file."""
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for statement in getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ():
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield f"{path.relative_to(ROOT)}:{statement.lineno}", str(statement.value.value)


def pages() -> Iterator[tuple[str, str]]:
    """Every page that users read."""
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("clients/*/README.md"),
    ]:
        if path.name != "CHANGELOG.md":
            yield from (
                (f"{path.relative_to(ROOT)}:{number}", line)
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            )


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """The help of a command and of everything below it."""
    context = click.Context(command)
    yield f"{name} --help", command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from helps(found, f"{name} {below}")


def offending(texts: Iterator[tuple[str, str]]) -> list[str]:
    """Where a banned word stands, and which."""
    return [f"{place}: {found[0]}" for place, text in texts for found in BANNED.finditer(CODE_SPAN.sub("", text))]


def test_docstrings_use_plain_words() -> None:
    """In every docstring of the project's code."""
    assert not offending(docstrings())


def test_pages_use_plain_words() -> None:
    """On every page of the docs; the contract's own document is quoted as it is."""
    assert not offending(pages())


def test_help_uses_plain_words() -> None:
    """In the help of the three commands and of each of their subcommands."""
    add_verbs(fake)
    texts = [*helps(fake, "kling-mock"), *helps(kit, "kling-contract"), *helps(client, "kling")]

    assert len(texts) > 20
    assert not offending(iter(texts))
