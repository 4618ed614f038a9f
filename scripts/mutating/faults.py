"""The faults that can be planted, as cosmic-ray makes them, and the draw of a sample."""

import difflib
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .groups import Group

# Types are written with `|` and never evaluated as numbers: such faults only stop the import.
NO_FAULTS = ("BinaryOperator_BitOr", "_BitOr_")
# Without these a program does the same, more slowly.
FOR_SPEED = ("@cache\n", "@lru_cache", "@override", "@final")
# No operator changes these, and most of a file consists of them.
UNTOUCHED = {
    "name",
    "newline",
    "string",
    "endmarker",
    "trailer",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    ":",
    "=",
    "->",
}
NOT_LOOKED_AT = ("__repr__",)


@dataclass(frozen=True)
class Fault:
    """A small fault: which change, and where."""

    file: str
    line: int
    operator: str
    occurrence: int

    def mutated(self, source: str) -> str | None:
        """Return *source* with the fault in it; None where it is no Python or does not change anything."""
        found: str | None = mutate_code(source, get_operator(self.operator)(), self.occurrence)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                return (
                    found if found and compile(found, self.file, "exec") != compile(source, self.file, "exec") else None
                )
        except SyntaxError:
            return None


def faults(root: Path, group: Group) -> Iterator[Fault]:
    """Yield every fault of a group, in the same order for the same code."""
    for file in group.files(root):
        tree = get_ast((root / file).read_text(encoding="utf-8"))
        nodes = [
            node
            for node in ast_nodes(tree)
            if node.type not in UNTOUCHED and getattr(node, "value", "") not in UNTOUCHED
        ]
        for name in sorted(operator_names()):
            operator = get_operator(name)
            if not operator.arguments() and not any(word in name for word in NO_FAULTS):
                places = ((node, at[0]) for node in nodes for at in operator().mutation_positions(node))
                for occurrence, (node, (line, _)) in enumerate(places):
                    if counts(node):
                        yield Fault(file, line, name, occurrence)


def counts(node: Any) -> bool:
    """Return whether a fault at *node* changes what the program does."""
    if node.type == "decorator":
        return not node.get_code(include_prefix=False).startswith(FOR_SPEED)
    return ASTQuery(node).get_definition_name() not in NOT_LOOKED_AT


def sample(root: Path, name: str, group: Group, size: int, seed: int) -> list[tuple[Fault, str]]:
    """Draw *size* faults of a group, each with the whole mutated file: the same for the same seed and code."""
    everything = list(faults(root, group))
    random.Random(f"{name} {seed}").shuffle(everything)
    drawn: list[tuple[Fault, str]] = []
    for fault in everything:
        mutated = fault.mutated((root / fault.file).read_text(encoding="utf-8"))
        if mutated is not None:
            drawn.append((fault, mutated))
        if len(drawn) == size:
            break
    return drawn


def change(source: str, mutated: str) -> tuple[str, str]:
    """Return the lines that a fault replaces and those that it puts there."""
    lines = list(difflib.unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0))[3:]
    was, now = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return "\n".join(was), "\n".join(now)


def again(root: Path, recorded: dict[str, Any]) -> tuple[Fault, str] | None:
    """Return a recorded fault as it is drawn, found by its lines; None where the code has changed.

    Where the lines stand more than once, those that are nearest to where they stood are meant.
    """
    lines = (root / recorded["file"]).read_text(encoding="utf-8").splitlines(keepends=True)
    was, now = recorded["was"].split("\n"), recorded["now"].split("\n")
    found = [start for start in range(len(lines)) if [line.strip() for line in lines[start : start + len(was)]] == was]
    if not found:
        return None
    start = min(found, key=lambda start: abs(start + 1 - recorded["line"]))
    there = lines[start : start + len(was)]
    indents = [line[: len(line) - len(line.lstrip())] for line in there]
    changed = [f"{indent}{line}\n" for indent, line in zip_longest(indents[: len(now)], now, fillvalue=indents[0])]
    blank = next((number for number, line in enumerate(was) if line), 0)  # before a decorator; nothing runs there
    fault = Fault(recorded["file"], start + blank + 1, recorded["operator"], recorded["occurrence"])
    return fault, "".join([*lines[:start], *changed, *lines[start + len(was) :]])
