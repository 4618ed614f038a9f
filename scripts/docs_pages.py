"""Pages of the docs site that are made from data when it is built: one for each rule, the control calls, and llms.txt."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import kling_openapi
from kling_contract.reading.contract import shipped
from kling_contract.rules import pages
from kling_contract.rules.legend import GRADES, LEVELS, WHERE
from kling_contract.rules.rulebook import Rule, rules

ROOT = Path(__file__).parent.parent
_OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")
_ROW = re.compile(r"^\| ([A-Z]{2}-\d+) \| \w+ \| (.+?) \| (.+?) \|", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    book = rules(shipped())
    mutants = _mutants((ROOT / "docs" / "mutants.md").read_text(encoding="utf-8"))
    for rule in book.values():
        files.append(File.generated(config, f"rules/{rule.id}.md", content=rule_page(rule, mutants.get(rule.id, []))))
    files.append(File.generated(config, "rules/index.md", content=_rule_list(list(book.values()))))
    files.append(File.generated(config, "control.md", content=_control(kling_openapi.read(kling_openapi.CONTROL))))
    files.append(File.generated(config, "llms.txt", content=_llms(config)))
    return files


def on_page_markdown(markdown: str, config: MkDocsConfig, **_: Any) -> str:
    """Let links to files that are not part of the site lead to the repository."""
    return _OUTSIDE.sub(
        lambda found: f"]({config.repo_url}/blob/main/{found[1]})" if _is_file(found[1]) else found[0], markdown
    )


def _is_file(path: str) -> bool:
    """Whether *path* is a file of the repository outside the docs."""
    return (ROOT / path.partition("#")[0]).exists()


def _mutants(page: str) -> dict[str, list[tuple[str, str]]]:
    """The broken servers and clients of each rule: name, and what it does wrong."""
    found: dict[str, list[tuple[str, str]]] = {}
    for rule, name, does in _ROW.findall(page):
        found.setdefault(rule, []).append((name, does))
    return found


def rule_page(rule: Rule, mutants: list[tuple[str, str]]) -> str:
    """A rule: what it asks, why, where that stands, a bad and a good exchange, what breaks it, how to see it."""
    subject = "client" if rule.for_clients else "server"
    command = "kling-contract client" if rule.for_clients else "kling-contract server URL"
    broken = "\n".join(f"- {name}: the {subject} {does}" for name, does in mutants) or "- no mutant is listed"
    source = "; ".join(pages.sources(rule))
    shown = pages.example(rule.id)
    where = "; ".join(WHERE[one] for one in rule.where)
    only = f"{command} --only {rule.id}" + (" -- COMMAND" if rule.for_clients else "")
    return f"""# {rule.id}

{rule.sentence}

- level: {rule.level}, which {LEVELS[rule.level]}
- grade: {rule.grade}, {GRADES[rule.grade]}
- source: {source} ([where each statement comes from](../provenance.md))
- judged on: {where}

## Why

{pages.why(rule.id)}

## A bad exchange

```text
{shown.bad}
```

Expected: `{shown.expected}`. Seen: `{shown.seen}`.

## A good exchange

```text
{shown.good}
```

Both are from the histories that the rule's judge is tested with. `>` is what was sent, `<` what came back; times are those of the account's
clock.

## What breaks it

{broken}

A correct {subject} does none of these; `kling-contract selftest` proves that each of them is found.

## See it

```sh
{only}
```

The report draws the exchange that broke the rule, or one that kept it; `kling-contract rules {rule.id}` prints this page.

All rules: [the rulebook](index.md).
"""


def _rule_list(book: list[Rule]) -> str:
    lines = [
        "# Rules",
        "",
        "Each is one checkable sentence, with at least one broken server or client that it finds.",
        "",
    ]
    group = ""
    for rule in book:
        if rule.group != group:
            group = rule.group
            lines += ["", f"## {group}", "", "| rule | level | grade | sentence |", "|---|---|---|---|"]
        lines.append(
            f"| [{rule.id}]({rule.id}.md) | {rule.level} | {rule.grade} | {rule.sentence.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines) + "\n"


def _control(document: dict[str, Any]) -> str:
    """Every control call, with a curl line that works."""
    lines = [
        "# Control calls",
        "",
        "On the same port as the service's own paths. A call with a bearer key acts on that account, one without on all. Off the",
        "loopback each needs the admin token, `X-Mock-Token`.",
    ]
    for path, item in document["paths"].items():
        for method, call in item.items():
            if method == "parameters":
                continue
            lines += [
                "",
                f"## {method.upper()} {path}",
                "",
                call["summary"],
                "",
                "```sh",
                _curl(path, method, call),
                "```",
            ]
    return "\n".join(lines) + "\n"


def _curl(path: str, method: str, call: dict[str, Any]) -> str:
    content = call.get("requestBody", {}).get("content", {}).get("application/json", {})
    example = next(iter(content.get("examples", {}).values()), {}).get("value")
    verb = "" if method == "get" else f" -X {method.upper()}"
    body = "" if example is None else f" -d '{json.dumps(example)}'"
    return f"curl -s{verb} http://127.0.0.1:4010{path}{body}"


def _llms(config: MkDocsConfig) -> str:
    """What a coding agent reads first (llmstxt.org): the pages, one line each."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", "", "## Docs", ""]
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].lstrip("# ")
        first = next((part for part in text.split("\n\n")[1:] if not part.startswith(("#", "|", "!", "`", "<"))), "")
        lines.append(f"- [{title}]({path.stem}/): {' '.join(first.split())[:160]}")
    lines += ["- [Rules](rules/): every rule of the kit", "- [Control calls](control/): the fake's control protocol"]
    return "\n".join(lines) + "\n"
