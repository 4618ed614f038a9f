"""What a model file says and JSON Schema cannot: sums of fields (`x-sums`) and totals over several fields (`x-totals`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from kling_openapi.schemas import Judge, Problem, parts, spelled, values


@dataclass(frozen=True, slots=True)
class Sum:
    """The numbers at `of` add up to the field `equals`."""

    of: str
    equals: str


@dataclass(frozen=True, slots=True)
class Total:
    """At most `most` values stand at the paths `of` together, in bodies that `when` holds for; `param` is named otherwise."""

    of: tuple[str, ...]
    most: int
    when: Judge | None
    param: str | None


class Rules:
    """The sums and totals of one model."""

    def __init__(self, schema: Mapping[str, Any], schemas: Mapping[str, Any], default: Callable[[str], Any]) -> None:
        self.sums = tuple(Sum(it["of"], it["equals"]) for it in schema.get("x-sums", ()))
        self.totals = tuple(
            Total(tuple(it["of"]), it["max"], Judge(it["when"], schemas) if "when" in it else None, it.get("param"))
            for it in schema.get("x-totals", ())
        )
        self._default = default

    def problems(self, body: Any) -> list[Problem]:
        """Return what is wrong with *body*, which keeps to the schema."""
        if not self.sums and not self.totals:
            return []
        found = [problem for one in self.sums if (problem := self._sum(body, one))]
        return found + [problem for one in self.totals if (problem := _total(body, one))]

    def _sum(self, body: Any, rule: Sum) -> Problem | None:
        items = [(steps, _number(value)) for steps, value in values(body, parts(rule.of))]
        if not items:
            return None
        wanted = next((it for _, it in values(body, parts(rule.equals))), self._default(rule.equals))
        total = sum((number for _, number in items), Decimal(0))
        if wanted is None or total == _number(wanted):
            return None
        for steps, number in items:
            if number > _number(wanted):
                field = spelled(steps)
                return Problem(field, f"{field}: {number} is more than the {rule.equals} of {wanted}", "x-sums", True)
        # No single part is at fault, so the field that holds them is.
        param = rule.of.partition("[]")[0]
        message = f"{param}: the seconds of its items are {total} in all; {rule.equals} is {wanted}"
        return Problem(param, message, "x-sums", conditional=True)


def _total(body: Any, rule: Total) -> Problem | None:
    if rule.when is not None and not rule.when.fits(body):
        return None
    given = {path: len(list(values(body, parts(path)))) for path in rule.of}
    total = sum(given.values())
    if total <= rule.most:
        return None
    filled = [path.removesuffix("[]") for path, number in given.items() if number]
    param = rule.param or filled[-1]
    message = f"{param}: {' and '.join(filled)} together are {total}; at most {rule.most} are allowed"
    return Problem(param, message, "x-totals", conditional=True)


def _number(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return Decimal("NaN")
