"""What a user may have meant: the known name that is nearest to one that does not exist."""

from collections.abc import Iterable


def nearest(given: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of *known* that looks most like *given*; None where none does."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(given[:200], list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the nearest name; empty where there is none."""
    found = nearest(given, known)
    return "" if found is None else f"; did you mean {found!r}?"
