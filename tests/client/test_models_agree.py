"""The TypeScript client judges a create of any model as the contract's own reading does, mistake by mistake."""

import json
import subprocess
from pathlib import Path

import pytest

import kling_openapi
from kling_openapi.near_misses import near_misses

pytestmark = pytest.mark.e2e

CLIENT = Path(__file__).parents[2] / "clients" / "typescript"
JUDGE = """
import { checkBody } from "%s";
let text = "";
for await (const chunk of process.stdin) text += chunk;
const said = JSON.parse(text).map((body) => {
  try { checkBody(body.model, body); return null; } catch (error) { return error.param ?? String(error); }
});
process.stdout.write(JSON.stringify(said));
"""


def judged(bodies):
    """What the TypeScript client says of *bodies*: the field at fault of each, None for a right one."""
    script = JUDGE % (CLIENT / "dist" / "src" / "fields.js").as_uri()
    ended = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(bodies),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(ended.stdout)


def test_right_bodies_and_near_misses_of_every_model(typescript_built):
    """Every example is taken; every near miss is refused, with the same field at fault."""
    models = kling_openapi.family().models.values()
    right = [body for model in models for body in model.examples]
    wrong = [(model, miss) for model in models for body in model.examples for miss in near_misses(model, body)]
    wrong = [(model, miss) for model, miss in wrong if miss.body.get("model") == model.name]
    expected = [model.problems(miss.body)[0].param for model, miss in wrong]

    assert judged(right) == [None] * len(right)
    said = judged([miss.body for _model, miss in wrong])
    differing = [
        (model.name, miss.steps, mine, theirs)
        for (model, miss), mine, theirs in zip(wrong, expected, said, strict=True)
        if mine != theirs
    ]

    assert len(wrong) > 300
    assert differing == []
