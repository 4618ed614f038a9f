"""The house rules that a machine can hold: arrows, one contract, one clock, names that agree, docs that are true."""

import ast
import io
import logging
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from importlinter.cli import lint_imports

import kling_openapi
from kling_mock.app import create_app
from kling_mock.cli import verbs
from kling_mock.cli.main import cli
from kling_mock.config import Settings
from kling_mock.contract import Contract
from kling_mock.core.errors import documented
from kling_mock.core.tasks import Status

ROOT = Path(__file__).parent.parent
FAKE = "mock_server/kling_mock"
CODE = (
    "common/kling_common",
    "openapi/kling_openapi",
    FAKE,
    "contract_tests/kling_contract",
    "clients/python/kling_client",
)
SERVICE = kling_openapi.service()
SCHEMAS = SERVICE["components"]["schemas"]


def sources(*folders: str) -> list[Path]:
    """Every Python file of these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    """The file's name as a test's id."""
    return path.relative_to(ROOT).as_posix()


def test_the_arrows_hold() -> None:
    """Import-linter's contracts of pyproject.toml."""
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    enabled = [one for one in loggers if not one.disabled]
    try:
        assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0
    finally:
        for one in enabled:  # it sets up logging for itself, which disables the loggers of other tests
            one.disabled = False


def limits() -> Iterator[int]:
    """Every number of the contract that nobody types by chance."""
    fields, image = SCHEMAS["CreateVideo"]["properties"], SCHEMAS["CreateVideo"]["properties"]["image_start"]["x-image"]
    yield fields["prompt"]["maxLength"]
    yield fields["callback_url"]["maxLength"]
    yield image["max_bytes"]
    yield SCHEMAS["CompletedTask"]["properties"]["results"]["x-link"]["lifetime_seconds"]
    yield SERVICE["components"]["parameters"]["IdempotencyKey"]["x-idempotency"]["lifetime_seconds"]
    yield SCHEMAS["UploadedFile"]["x-files"]["max_bytes"]
    yield SCHEMAS["UploadedFile"]["x-files"]["lifetime_seconds"]


LIMITS = frozenset(limits())
ALLOWED = {(f"{FAKE}/core/notation.py", 86_400), (f"{FAKE}/core/scenarios.py", 86_400)}
"""A day has so many seconds in the units of a duration; that links live for a day is the contract's affair."""


def numbers(path: Path) -> Iterator[int]:
    """Every number that the file computes from literals alone: `50 * 1024 * 1024` is one too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant | ast.BinOp):
            try:
                value = eval(compile(ast.Expression(node), str(path), "eval"), {"__builtins__": {}})
            except Exception:
                continue
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield int(value) if value == value and abs(value) < 1e18 else 0


def test_no_limit_is_typed_twice() -> None:
    """The contract's numbers stand in the contract and nowhere else."""
    found = {(named(path), number) for path in sources(*CODE) for number in numbers(path) if number in LIMITS}

    assert not found - ALLOWED


def test_the_limits_looked_for_are_there() -> None:
    """The test above looks for something."""
    assert {2500, 2048, 86_400, 52_428_800} <= LIMITS


TIMES = re.compile(
    r"\btime\.(time|monotonic|sleep|perf_counter)\b|datetime\.(now|utcnow|today)\b|^from time import|\brandom\.",
    re.MULTILINE,
)


def code_of(path: Path) -> str:
    """The file without its comments and texts."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    kept = [token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.STRING)]
    return re.sub(r" ?\. ?", ".", " ".join(kept))


def test_only_the_clock_reads_the_time() -> None:
    """And nothing but ids.py draws."""
    assert not [named(path) for path in sources(FAKE) if path.name != "clock.py" and TIMES.search(code_of(path))]


def test_files_are_short() -> None:
    """At most 400 lines, so that one can be read in one sitting."""
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*CODE)}

    assert not {name: length for name, length in lengths.items() if length > 400}


def test_every_function_is_short() -> None:
    """At most 30 lines of code, docstrings and functions inside it not counted."""
    long = [
        f"{named(path)}:{node.lineno} {node.name}: {length}"
        for path in sources(FAKE)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := code_lines(node)) > LONGEST.get(node.name, 30)
    ]

    assert not long


LONGEST = {"_read": 40, "_har_entry": 50}
"""Lists of names and places, the contract's and HAR's; cut in two they would read no better."""


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    inner = sum((one.end_lineno or 0) - one.lineno for one in body if isinstance(one, ast.FunctionDef))
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 - inner if body else 0


def test_statuses_are_the_contracts() -> None:
    """The code's enum and the contract's are one list."""
    assert [status.value for status in Status] == SCHEMAS["Status"]["enum"]


def test_errors_are_the_contracts() -> None:
    """Every ApiError has its documented response, and every documented response its ApiError."""
    assert set(documented()) == set(SERVICE["components"]["responses"])


def test_handlers_are_the_contracts_operations() -> None:
    """Every operation is answered, and nothing else is."""
    fake = create_app(clock="manual").extensions["kling-mock"]

    assert set(fake.api.handlers) == set(Contract().operations)


def test_every_operation_has_its_route() -> None:
    """At the contract's path and method."""
    app = create_app(clock="manual")
    routed = {
        rule.endpoint: (rule.rule.replace("<", "{").replace(">", "}"), rule.methods - {"HEAD"})
        for rule in app.url_map.iter_rules()
    }

    for operation in Contract().operations.values():
        assert routed[operation.id] == (operation.path, {operation.method})


def options(command: str) -> set[str]:
    """Long names of a command's options."""
    return {name for parameter in cli.commands[command].params for name in parameter.opts if name.startswith("--")}


def test_every_setting_has_its_option() -> None:
    """What can be set in code can be set on the command line, under the same name."""
    spelled = {"relays": "--relay", "service_settings": "--set"}
    wanted = {spelled.get(name, "--" + name.replace("_", "-")) for name in Settings.__struct_fields__}

    assert wanted <= options("serve")
    assert wanted - {"--port"} <= options("exec") | {"--port"}


def markdown() -> list[Path]:
    """The pages that users read, and the rooms' own READMEs."""
    rooms = [ROOT / room / "README.md" for room in ("common", "openapi", "mock_server", "contract_tests", "tests")]
    return [ROOT / "README.md", *rooms, *sorted((ROOT / "docs").glob("*.md"))]


GENERATED = ("rules/", "control.md")
"""Pages of the docs that scripts/docs_pages.py makes when the site is built; the build checks links to them."""


def test_pages_link_to_what_is_there() -> None:
    """Every relative link leads to a file."""
    dead = [
        (named(page), target)
        for page in markdown()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists() and not target.startswith(GENERATED)
    ]

    assert not dead


def test_pages_name_options_and_verbs_that_exist() -> None:
    """Every `kling-mock VERB` and every option in its line is one."""
    verbs.add_verbs(cli)
    text = "\n".join(page.read_text(encoding="utf-8") for page in markdown())
    for line in re.findall(r"kling-mock ([a-z][^`\n]*)", text):
        verb, *rest = line.split()
        if verb.strip(".,;:") not in cli.commands:
            assert not rest or not rest[0].startswith("--"), line
            continue
        own = line.partition(" -- ")[0]
        for option in re.findall(r"(?<!\S)(--[a-z-]+)", own):
            assert option in options(verb.strip(".,;:")) | {"--help", "--version"}, line


def test_settings_page_lists_every_choice() -> None:
    """docs/settings.md and the contract's open questions are one list."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    assert all(f"`{name}`" in page for name in SERVICE["x-assumptions"])


def test_no_machine_paths_are_kept() -> None:
    """Nothing that is committed knows where it was written."""
    kept: list[Any] = [
        *sources(*CODE, "scripts", "benchmarks"),
        *markdown(),
        ROOT / "pyproject.toml",
        ROOT / "CHANGELOG.md",
    ]
    words = ["/" + "work/", "/" + "tmp/v"]

    assert not [named(path) for path in kept for word in words if word in path.read_text(encoding="utf-8")]
