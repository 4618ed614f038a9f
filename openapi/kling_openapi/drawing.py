"""Right bodies of a model, drawn from its file for property tests. Needs Hypothesis, which the kit brings."""

from collections.abc import Callable
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from kling_openapi.model import Model
from kling_openapi.schemas import Problem, Steps, parts, resolved, steps_of, values

Draw = Callable[[st.SearchStrategy[Any]], Any]

_LONGEST = 40
_ITEMS = 3
_ROUNDS = 24


def bodies(model: Model, *, leave_out: tuple[str, ...] = ("callback_url",)) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of bodies that the model takes, without the fields in *leave_out*.

    To make it takes longer than to draw from it: make it once.
    """
    return _bodies(model, _object(model, dict(model.schema), leave_out))


@st.composite
def _bodies(draw: Draw, model: Model, objects: st.SearchStrategy[Any]) -> dict[str, Any]:
    body: dict[str, Any] = draw(objects)
    for _ in range(_ROUNDS):
        problems = model.problems(body)
        if not problems:
            return body
        _mend(draw, model, body, problems[0])
    assume(False)
    raise AssertionError("not reached")


def _object(model: Model, schema: dict[str, Any], leave_out: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Return objects with the required members, and any of the others."""
    members = {
        name: node
        for name, it in schema.get("properties", {}).items()
        if name not in leave_out and (node := resolved(it, model.components)).get("not") != {}
    }
    required = [name for name in schema.get("required", ()) if name in members]
    optional = {name: value(model, it) for name, it in members.items() if name not in required}
    return st.fixed_dictionaries({name: value(model, members[name]) for name in required}, optional=optional)


def value(model: Model, schema: Any) -> st.SearchStrategy[Any]:
    """Return values that *schema* takes by itself."""
    node = resolved(schema, model.components)
    if "const" in node:
        return st.just(node["const"])
    choices = node.get("enum") or [it["const"] for it in node.get("oneOf", ()) if "const" in it]
    if choices:
        return st.sampled_from(choices)
    kind = node.get("type")
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "number"):
        return _numbers(node)
    if kind == "array":
        return _arrays(model, node)
    return _object(model, node) if kind == "object" else _texts(node)


def _numbers(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = node.get("minimum", 0), node.get("maximum", 1000)
    whole = st.integers(low, high)
    return (
        whole if node["type"] == "integer" else st.one_of(whole, st.integers(low * 2, high * 2).map(lambda it: it / 2))
    )


def _arrays(model: Model, node: dict[str, Any]) -> st.SearchStrategy[Any]:
    least = node.get("minItems", 0)
    most = min(node.get("maxItems", _ITEMS), max(_ITEMS, least))
    return st.lists(value(model, node.get("items", {})), min_size=least, max_size=most)


def _texts(node: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in node:
        shown = node.get("examples")
        return st.sampled_from(shown) if shown else st.from_regex(node["pattern"], fullmatch=True)
    least, most = node.get("minLength", 0), node.get("maxLength", _LONGEST)
    short = st.text(min_size=least, max_size=min(most, _LONGEST))
    return st.one_of(short, st.sampled_from(["a", "\U0001f600"]).map(lambda letter: letter * most))


def _mend(draw: Draw, model: Model, body: dict[str, Any], problem: Problem) -> None:
    """Change *body* so that *problem* is gone."""
    steps = steps_of(problem.param or "")
    path = "".join("[]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    if problem.keyword == "x-sums":
        _mend_sum(draw, model, body, path)
    elif problem.keyword == "required":
        _put(body, steps, draw(value(model, model.at(path))))
    elif problem.keyword == "minLength":
        _put(body, steps, "A cat")
    elif problem.keyword in ("maximum", "minimum"):
        _put(body, steps, draw(value(model, {**model.at(path), "maximum": _limit(problem)})))
    else:
        _take(body, steps)


def _limit(problem: Problem) -> int:
    return int(problem.message.rpartition(" ")[2])


def _mend_sum(draw: Draw, model: Model, body: dict[str, Any], path: str) -> None:
    """Give the parts of a sum such seconds that they make a whole that the model takes."""
    rule = next(it for it in model.rules.sums if it.of.startswith(path.partition("[]")[0]))
    items = [steps for steps, _ in values(body, parts(rule.of))]
    whole = model.at(rule.equals)
    total = draw(st.integers(max(whole["minimum"], len(items)), whole["maximum"]))
    body[rule.equals] = total
    for number, steps in enumerate(items):
        left = len(items) - number - 1
        part = draw(st.integers(1, total - left)) if left else total
        _put(body, steps, str(part))
        total -= part


def _put(body: Any, steps: Steps, new: Any) -> None:
    for step in steps[:-1]:
        body = body[step]
    body[steps[-1]] = new


def _take(body: Any, steps: Steps) -> None:
    """Take out what stands at *steps*; of an array its last item, and the array with its last one."""
    assume(steps)
    holder = body
    for step in steps[:-1]:
        holder = holder[step]
    held = holder[steps[-1]]
    if isinstance(held, list) and len(held) > 1:
        held.pop()
    else:
        del holder[steps[-1]]
