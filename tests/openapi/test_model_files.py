"""Model files: a new one is one file, and a mistake in one is named with file and line."""

from pathlib import Path

import pytest
import yaml

import kling_openapi
from kling_openapi import checking, writing
from kling_openapi.family import MODELS, PARSED, PARTS
from kling_openapi.files import parse, read_text

MODEL = """\
type: object
x-grade: A
x-source: [page:acme/dream]
required: [model, prompt]
properties:
  model: {type: string, const: acme-dream}
  prompt: {type: string, maxLength: 100}
  length: {type: integer, minimum: 1, maximum: 9, default: 4}
  tier: {type: string, default: small, oneOf: [{const: small, x-short-side: 480}, {const: large, x-short-side: 1080}]}
  picture: {$ref: "#/components/schemas/KlingImage"}
  callback_url: {$ref: "#/components/schemas/CallbackUrl"}
x-price: {billing_rule: per_second, per: second, credits: 2, settlement: request, factors: [{when: {tier: large}, times: 3}]}
x-output: {medium: video, seconds: {from: length}, ratio: {from: [picture], default: "16:9"}, short_side: {from: tier}}
examples:
  - {model: acme-dream, prompt: A dream}
"""


def written(folder: Path, text: str = MODEL, name: str = "acme-dream.yaml") -> Path:
    """A model file with that text."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_new_model_is_one_file(tmp_path: Path, as_folder: bool) -> None:
    """Given as a file or by its folder, it is one more model, judged and priced by its own fields."""
    file = written(tmp_path)
    family = kling_openapi.read_family(tmp_path if as_folder else file)
    model = family.models["acme-dream"]

    assert len(family.models) == len(kling_openapi.family().models) + 1
    assert family.default == kling_openapi.family().default
    assert model.quote({"model": "acme-dream", "prompt": "x", "length": 3, "tier": "large"}).reserved == 18
    assert [it.param for it in model.problems({"model": "acme-dream", "prompt": "x", "length": 10})] == ["length"]


def test_a_model_of_the_same_name_takes_its_place(tmp_path: Path) -> None:
    """A changed copy of a shipped file is the model that counts."""
    name = "kling-v3-text-to-video"
    text = (MODELS / f"{name}.yaml").read_text(encoding="utf-8").replace("credits: 5.4", "credits: 10")
    written(tmp_path, text, f"{name}.yaml")
    family = kling_openapi.read_family(tmp_path)

    assert len(family.models) == len(kling_openapi.family().models)
    assert family.models[name].quote({"model": name, "prompt": "x"}).reserved == 50


@pytest.mark.parametrize("name", sorted(file.stem for file in MODELS.glob("*.yaml")))
def test_a_renamed_copy_is_a_new_model(tmp_path: Path, name: str) -> None:
    """Whichever shipped file is copied: nothing in it is about its name alone."""
    text = (MODELS / f"{name}.yaml").read_text(encoding="utf-8").replace(f"model: {name}", "model: acme-1")
    written(tmp_path, text.replace(f"const: {name}", "const: acme-1"), "acme-1.yaml")
    model = kling_openapi.read_family(tmp_path).models["acme-1"]

    assert [model.problems(body) for body in model.examples] == [[]] * len(model.examples)


def test_a_contract_with_a_create_of_its_own(tmp_path: Path) -> None:
    """An inline CreateVideo is the document's own model; the others stay, and so does its price."""
    document = kling_openapi.service()
    create = document["components"]["schemas"]["CreateVideo"]
    create = {**create, "properties": {**create["properties"], "prompt": {"type": "string", "maxLength": 3}}}
    whole = {**document, "components": {**document["components"]}}
    whole["components"]["schemas"] = {**document["components"]["schemas"], "CreateVideo": create}
    family = kling_openapi.read_family(written(tmp_path, yaml.safe_dump(whole), "mine.yaml"))
    body = {"model": family.default, "image_start": "https://image.test/640x480.png", "prompt": "long"}

    assert [it.param for it in family.own.problems(body)] == ["prompt"]
    assert family.own.quote(body).reserved == kling_openapi.family().own.quote(body).reserved
    assert set(family.models) == set(kling_openapi.family().models)
    assert family.document()["components"]["schemas"]["CreateVideo"]["properties"]["prompt"]["maxLength"] == 3


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("maxLength: 100", "maxLenght: 100", 7, "#/properties/prompt/maxLenght: unknown schema keyword"),
        ("maxLength: 100", "maxLength: many", 7, "many"),
        ("schemas/KlingImage", "schemas/KlingPicture", 10, "leads nowhere"),
        ("credits: 2", "credits: cheap", 12, "is not of type"),
        ("credits: 2", "kredits: 2", 12, "kredits"),
        ("x-price:", "x-prices:", 12, "unknown extension"),
        ("per: second", "per: fortnight", 12, "is not one of"),
        ("seconds: {from: length}", "seconds: {from: duration}", 13, "no field duration"),
        ("{tier: large}", "{quality: large}", 12, "no field quality"),
        ("x-short-side: 480", "x-short-side: 481", 9, "481"),
        ("prompt: A dream}", "length: 3}", 15, "prompt is required"),
        ("examples:\n  - {model: acme-dream, prompt: A dream}\n", "", 1, "examples are missing"),
        ("const: acme-dream", "const: acme-drama", 6, "acme-drama.yaml"),
        ("const: acme-dream", "type: string", 1, "properties.model.const"),
        ("x-grade: A", "x-grade: B", 2, "is not one of"),
        ("required: [model, prompt]", "required: {", None, "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int | None, words: str) -> None:
    """The file, the line, and what is wrong there."""
    assert old in MODEL
    file = written(tmp_path, MODEL.replace(old, new))
    with pytest.raises(kling_openapi.ContractError) as caught:
        kling_openapi.read_family(file)

    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}:{line}:" if line else f"{file}: ")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """With what would be right."""
    with pytest.raises(kling_openapi.ContractError, match="put a contract or model files into it"):
        kling_openapi.read_family(tmp_path)


def test_the_shared_parts_are_in_their_right_form() -> None:
    """A start takes them for right as long as `parsed.json` knows them, so they are looked at here."""
    schemas = parse(PARTS, read_text(PARTS))["components"]["schemas"]

    assert [mistake for schema in schemas.values() for mistake in checking.unknown(schema)] == []


def test_what_is_made_from_the_files_is_current() -> None:
    """`parsed.json` holds what the shipped files say now."""
    assert PARSED.read_bytes() == writing.parsed()
