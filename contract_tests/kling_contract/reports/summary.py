"""The step summary: short Markdown for a pull request."""

from kling_contract.rules.verdicts import ORDER, Outcome, Run, Verdict

_SAID = (Verdict.FAIL, Verdict.STALE, Verdict.KIT_ERROR, Verdict.UNTESTABLE, Verdict.WARN, Verdict.KNOWN)


def headline(run: Run) -> str:
    """One sentence: how the run ended."""
    if run.stopped:
        return f"stopped: {run.stopped}"
    if run.exit == 2:
        return "nothing could be judged"
    broken = len(run.having(Verdict.FAIL))
    if broken:
        return f"{broken} {'rule is' if broken == 1 else 'rules are'} broken"
    return "a known failure is none any more" if run.having(Verdict.STALE) else "no rule is broken"


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
        lines += [_row(outcome) for outcome in said] + [""]
    verdicts = [verdict for verdict in ORDER if str(verdict) in run.totals]
    lines += ["| group | " + " | ".join(verdicts) + " |", "|---|" + "---|" * len(verdicts)]
    for group in dict.fromkeys(outcome.rule.group for outcome in run.outcomes):
        members = [outcome for outcome in run.outcomes if outcome.rule.group == group]
        counts = [str(sum(outcome.verdict is verdict for outcome in members) or "") for verdict in verdicts]
        lines.append(f"| {group} | " + " | ".join(counts) + " |")
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome) -> str:
    cells = (outcome.rule.id, str(outcome.verdict), outcome.rule.sentence, outcome.expected, outcome.seen)
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    short = text if len(text) <= 160 else text[:157] + "..."
    return " ".join(short.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
