"""The end of a help screen: two examples, and what each exit code means."""

from collections.abc import Sequence


def epilog(examples: Sequence[str], codes: str) -> str:
    """Return the text under a click command's options; the lines of the examples are not wrapped."""
    shown = "\n".join(f"  {example}" for example in examples)
    return f"\b\nExamples:\n{shown}\n\nExit codes: {codes}"
