"""What the short words of a report mean: levels, grades, and where a rule can be judged."""

LEVELS = {
    "MUST": "breaks the run",
    "SHOULD": "warns",
    "MAY": "informs",
}
GRADES = {
    "D": "the document says so",
    "S": "a sibling page of the manual says so",
    "C": "first-party client code relies on it",
    "A": "assumed",
    "I": "plain sense, HTTP or security practice",
}
WHERE = {
    "F": "a fake with the control protocol",
    "R0": "the real service, free when it behaves",
    "R$": "the real service, billed",
    "H": "any recorded history",
    "C": "a client in the lab",
}
VERDICTS = {
    "pass": "looked at, and it holds",
    "fail": "a MUST is broken",
    "warn": "a SHOULD is broken",
    "info": "a MAY does not hold",
    "known": "broken, and listed in --known-failing",
    "stale": "listed in --known-failing, and it holds now",
    "not-run": "not looked at; the reason is in the rule",
    "untestable": "could not be judged in this run",
    "kit-error": "the kit itself failed",
}
EXTRA = {
    "F": "a fake: kling-contract server URL",
    "R$": "--mode paid --max-usd X",
    "R0": "--mode readonly",
    "C": "kling-contract client",
}
"""What would run a rule that was not run, by where it can be judged."""


def would_run(where: tuple[str, ...]) -> str:
    """Return the ways to have a rule of these places judged."""
    return "; ".join(EXTRA[one] for one in where if one in EXTRA)
