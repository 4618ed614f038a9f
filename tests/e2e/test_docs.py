"""The docs site: every link leads somewhere, every rule has a page, and the code in it runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kling_contract.reading.contract import shipped
from kling_contract.rules.rulebook import rules
from kling_mock.serving.process import Running

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors: a broken link or anchor, an include that is missing, a page without a place."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [str(BIN / "mkdocs"), "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_rule_has_a_page(site: Path) -> None:
    """With its sentence, what breaks it, and the command that shows it."""
    for rule in rules(shipped()).values():
        page = re.sub(r"<[^>]+>", "", (site / "rules" / rule.id / "index.html").read_text(encoding="utf-8"))
        assert f"--only {rule.id}" in page
        for title in ("Why", "A bad exchange", "A good exchange", "What breaks it"):
            assert title in page, rule.id
        assert "no mutant is listed" not in page, rule.id


def test_agents_find_every_page(site: Path) -> None:
    """`llms.txt` names each page that it lists, and they are there."""
    text = (site / "llms.txt").read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)]+)\)", text)
    assert {"recipes/", "rules/", "control/", "agents/"} <= set(found)
    for path in found:
        assert (site / path.replace("index/", "") / "index.html").exists(), path


def test_nothing_of_the_site_comes_from_another_host(site: Path) -> None:
    """No font, script or style is fetched."""
    for page in ("index.html", "recipes/index.html"):
        assert not re.findall(
            r'<(?:script|link)[^>]+(?:src|href)="https?://(?!127)[^"]+\.(?:js|css|woff2?)"', (site / page).read_text()
        )


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_five_minute_start_works_as_it_is_written() -> None:
    """The second block of the first page, against a fake at another port."""
    (start,) = [block for block in blocks("index.md", "sh") if "kling-mock freeze" in block]
    with Running() as fake:
        script = start.replace("http://127.0.0.1:4010", fake.url).replace('export PATH="$PWD/.venv/bin:$PATH"', "")
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "KLING_MOCK_URL": fake.url}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment,
        )
    assert done.returncode == 0, done.stderr
    assert "completed  100 %" in done.stdout
    assert "video until" in done.stdout


WAYS = {
    "pytest": ("1 passed", {}),
    "asyncio": (
        "1 passed",
        {"import httpx\n": "import httpx2 as httpx\n"},
    ),  # the same interface, which is installed here
}
LOOP = """
import asyncio, inspect, pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: as pytest-asyncio has it")

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = inspect.signature(pyfuncitem.obj).parameters
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True
"""


@pytest.mark.parametrize("title", WAYS)
def test_the_tests_of_the_page_by_the_clock_run(title: str, tmp_path: Path) -> None:
    """What its blocks write into a file is a test that passes; scripts/stopwatch runs whole blocks, with a network."""
    text = (
        (ROOT / "docs" / "five-minutes.md")
        .read_text(encoding="utf-8")
        .partition(f"\n## {title}\n")[2]
        .partition("\n## ")[0]
    )
    said, changes = WAYS[title]
    (code,) = re.findall(r"cat > test_video.py <<'EOF'\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)
    for old, new in changes.items():
        assert old in code
        code = code.replace(old, new)
    (tmp_path / "test_video.py").write_text(code)
    (tmp_path / "conftest.py").write_text(LOOP)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "test_video.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert said in done.stdout, done.stdout + done.stderr


def test_every_way_of_that_page_is_a_script() -> None:
    """Seven blocks that bash takes, each under a title of its own, none of which names a registry's package of ours."""
    found = subprocess.run(
        [sys.executable, "-c", "import stopwatch, json; print(json.dumps(stopwatch.ways()))"],
        cwd=ROOT / "scripts", capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    ways = json.loads(found.stdout)
    assert len(ways) == 7
    for title, commands in ways.items():
        assert subprocess.run(["bash", "-n"], input=commands, text=True, timeout=60, check=False).returncode == 0, title
        assert not re.search(r"(pip|npm|npx|uvx|pipx) install [^\n]*\bklingkit(?!/)", commands), title


def test_readme_has_the_ten_lines_for_agents() -> None:
    """The same ten as the page for agents."""
    lists = [
        re.findall(r"^(\d+\. .+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)[-10:]
        for name in ("README.md", "docs/agents.md")
    ]
    assert lists[0] == lists[1]
    assert len(lists[0]) == 10


def test_the_in_process_example_runs() -> None:
    """The first block of its page, as it stands."""
    exec(compile(blocks("in-process.md", "python")[0], "in-process.md", "exec"), {})


def test_every_control_call_of_the_docs_works(site: Path) -> None:
    """Each curl line of the page is taken by a fake: nothing is misspelt, no body is refused."""
    page = (site / "control" / "index.html").read_text(encoding="utf-8")
    text = (
        re.sub(r"<[^>]+>", "", page)
        .replace("&amp;", "&")
        .replace("&quot;", '"')
        .replace("&#39;", "'")
        .replace("&gt;", ">")
    )
    lines = re.findall(r"^curl -s .*$", text, re.MULTILINE)
    assert len(lines) > 15
    assert shutil.which("curl")
    with Running(["--clock", "manual"]) as fake:
        for line in lines:
            if "{" in line.split("4010")[1].split(" ")[0] or "/wait" in line:
                continue  # about a task that somebody has
            command = line.replace("http://127.0.0.1:4010", fake.url)
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
            assert not done.stdout.startswith('{"error"'), f"{line}: {done.stdout}"
