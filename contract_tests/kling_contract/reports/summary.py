"""The step summary: short Markdown for a pull request."""

from collections.abc import Sequence
from pathlib import Path

from kling_contract.rules.verdicts import ORDER, Result, Run, Verdict

_SAID = (Result.FAIL, Result.STALE, Result.KIT_ERROR, Result.UNTESTABLE, Result.WARN, Result.KNOWN)


def headline(run: Run) -> str:
    """One sentence: how the run ended."""
    if run.stopped:
        return f"stopped: {run.stopped}"
    if run.exit == 2:
        return "nothing could be judged"
    broken = len(run.having(Result.FAIL))
    if broken:
        return f"{broken} {'rule is' if broken == 1 else 'rules are'} broken"
    return "a known failure now passes" if run.having(Result.STALE) else "no rule is broken"


def markdown(run: Run) -> str:
    """The summary: headline, what needs doing, and totals by group."""
    seed = f", seed {run.seed}" if run.seed is not None else ""
    lines = [
        f"## Contract: {headline(run)}",
        "",
        f"`{run.target or 'recorded'}` ({run.mode}), contract {run.contract}{seed}",
        "",
    ]
    said = run.having(*_SAID)
    if said:
        lines += ["| rule | verdict | sentence | expected | seen |", "|---|---|---|---|---|"]
        lines += [_row(verdict) for verdict in said] + [""]
    results = [result for result in ORDER if str(result) in run.totals]
    lines += ["| group | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for group in dict.fromkeys(verdict.rule.group for verdict in run.verdicts):
        members = [verdict for verdict in run.verdicts if verdict.rule.group == group]
        counts = [str(sum(verdict.result is result for verdict in members) or "") for result in results]
        lines.append(f"| {group} | " + " | ".join(counts) + " |")
    return "\n".join(lines) + "\n"


def _row(verdict: Verdict) -> str:
    cells = (verdict.rule.id, str(verdict.result), verdict.rule.sentence, verdict.expected, verdict.seen)
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    short = text if len(text) <= 160 else text[:157] + "..."
    return " ".join(short.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def distinct(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return the *names* of reports; what has the same name as another with its path as well."""
    return [f"{name} ({path})" if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]
