"""`kling-contract mcp`: the kit as tools of the Model Context Protocol, over standard input and output, with the official SDK."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import click

from kling_contract.reading.contract import shipped
from kling_contract.rules.legend import GRADES, LEVELS, WHERE, would_run
from kling_contract.rules.pages import example, sources, why
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import SetupError

if TYPE_CHECKING:
    from mcp.server import MCPServer

_INSTRUCTIONS = (
    "Judges servers, clients and recordings against the contract of an asynchronous video API. judge_server is for fakes; against "
    "the real service it only reads. exit_code 0 is good, 1 a broken rule, 2 a mistake in the call, 3 a cap of money or time."
)
_MAIN = "from kling_contract.cli.main import main; main()"
_LONGEST = 1800.0
_SHOWN = 20_000


def judge_server(url: str, api_key: str = "sk-test", quick: bool = True) -> dict[str, Any]:
    """Judge the server at url; quick leaves out what takes long. Returns exit code, findings and the report's folder."""
    return _judged(["server", url, "--api-key", api_key, *(["--quick"] if quick else [])])


def judge_recording(files: list[str]) -> dict[str, Any]:
    """Judge recorded histories: JSON Lines, HAR or a journal."""
    return _judged(["check", *files])


def judge_client(command: list[str], min_poll: float | None = None, only: str = "") -> dict[str, Any]:
    """Judge a client: a command with placeholders, such as ["node", "make.mjs", "{image}", "{out}"], run in every story of the lab."""
    pace = [] if min_poll is None else ["--min-poll", str(min_poll)]
    return _judged(["client", *pace, *(["--only", only] if only else [])], ["--", *command])


def explain_rule(rule_id: str) -> dict[str, Any]:
    """Say what a rule asks, why, how much it weighs, where it comes from, a bad and a good exchange, and what would run it."""
    from mcp.server.mcpserver.exceptions import ToolError

    rule = rules(shipped()).get(rule_id.upper())
    if rule is None:
        raise ToolError(f"there is no rule {rule_id!r}; list_rules names them")
    return {
        "id": rule.id,
        "sentence": rule.sentence,
        "level": f"{rule.level}: {LEVELS[rule.level]}",
        "grade": f"{rule.grade}: {GRADES[rule.grade]}",
        "source": sources(rule),
        "why": why(rule.id),
        "bad_exchange": example(rule.id).bad,
        "good_exchange": example(rule.id).good,
        "judged_on": [WHERE[one] for one in rule.where],
        "run_by": would_run(rule.where),
    }


def list_rules(prefix: str = "") -> list[str]:
    """List the rules, one line each; a prefix such as SV or CP picks a group."""
    book = rules(shipped()).values()
    return [f"{rule.id} {rule.level} {rule.sentence}" for rule in book if rule.id.startswith(prefix.upper())]


def _judged(words: list[str], rest: list[str] | None = None) -> dict[str, Any]:
    """Run the kit as a user would, with a report in a folder of its own, and return what it said."""
    report = Path(mkdtemp(prefix="kling-report-"))
    done = subprocess.run(  # noqa: S603 - the kit's own command
        [sys.executable, "-c", _MAIN, *words, "--report", str(report), *(rest or [])],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=_LONGEST,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    return {"exit_code": done.returncode, "said": said[-_SHOWN:], "report": str(report / "report.json")}


def server() -> "MCPServer[Any]":
    """Return the server with its tools.

    Raises:
        ImportError: the extra `mcp` is not installed.
    """
    from mcp.server import MCPServer

    made: MCPServer[Any] = MCPServer(
        "kling-contract", version=version("klingkit"), instructions=_INSTRUCTIONS, log_level="ERROR"
    )
    for tool in (judge_server, judge_recording, judge_client, explain_rule, list_rules):
        made.tool()(tool)
    return made


@click.command()
def command() -> int:
    """Serve the kit to a coding agent over standard input and output (Model Context Protocol)."""
    try:
        made = server()
    except ImportError as error:
        raise SetupError(
            "this needs the extra `mcp`: pip install 'klingkit[kit,mcp]', from the repository or a wheel"
        ) from error
    made.run("stdio")
    return 0
