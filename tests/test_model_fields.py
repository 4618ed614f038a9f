"""No field of a model stands in the code of the fake or of a judge: a model is its file, and the rulebook names what a rule is about."""

import ast
from collections.abc import Iterator
from pathlib import Path

import kling_openapi

ROOT = Path(__file__).parents[1]
FAKE = ROOT / "mock_server" / "kling_mock"
JUDGES = ROOT / "contract_tests" / "kling_contract" / "rules"

COMMON = {"model", "callback_url"}
"""Fields that every model has; the fake and the kit know what they mean."""
SETTING = {"seed"}
"""A field of one model that is a setting of the fake and a member of reports, too."""
FIELDS = {name for model in kling_openapi.family().models.values() for name in model.fields} - COMMON - SETTING

ALLOWED = {
    "service/choosing.py": ({"prompt"}, "a scenario may be named by a tag in the prompt"),
    "core/observed.py": ({"image_start"}, "the profile of observed bodies is about the document's model"),
    "service/views.py": ({"duration", "video_url"}, "members of result_data and of an observed body, not of a request"),
    "media/images.py": ({"quality"}, "an option of Pillow's JPEG writer"),
}
"""Files of the fake that may name some of them, and why."""


def literals(path: Path) -> Iterator[str]:
    """Every string of the file's code, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node.value


def named(folder: Path) -> dict[str, set[str]]:
    """The files of *folder* that name fields, and which."""
    found = {path.relative_to(folder).as_posix(): FIELDS & set(literals(path)) for path in folder.rglob("*.py")}
    return {name: fields for name, fields in found.items() if fields}


def test_the_search_finds_a_literal(tmp_path: Path) -> None:
    """A field in code is found, one in a docstring is not."""
    (tmp_path / "a.py").write_text('"""quality"""\nbody = {}\nbody["image_start"]\n', encoding="utf-8")

    assert named(tmp_path) == {"a.py": {"image_start"}}


def test_the_fake_names_no_field() -> None:
    """Save where the list says why."""
    wrong = {name: fields - ALLOWED.get(name, (set(), ""))[0] for name, fields in named(FAKE).items()}

    assert {name: fields for name, fields in wrong.items() if fields} == {}


def test_nothing_stands_on_the_list_in_vain() -> None:
    """Each file that is listed names a field."""
    assert set(ALLOWED) <= set(named(FAKE))


def test_no_judge_names_a_field() -> None:
    """What a rule of the document is about stands in the rulebook; everything else is read from the model's file."""
    assert named(JUDGES) == {}
