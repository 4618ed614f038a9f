"""Where the contract comes from: every sentence of the document carried, every statement graded and sourced."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import kling_openapi
from kling_openapi import provenance, rule_sources

SERVICE = kling_openapi.read(kling_openapi.SERVICE)
SENTENCES = provenance.sentences()
DOCS = Path(__file__).parents[2] / "docs"


def at(*steps: str) -> Any:
    """What stands at *steps* of the contract's components."""
    node = SERVICE["components"]
    for step in steps:
        node = node[step]
    return node


CREATE = SERVICE["paths"]["/v1/videos/generations"]["post"]
DELIVERY = CREATE["callbacks"]["taskFinished"]["{$request.body#/callback_url}"]["post"]["x-delivery"]
FIELDS = at("schemas", "CreateVideo", "properties")
IMAGE = FIELDS["image_start"]["x-image"]
TASK = at("schemas", "TaskCommon", "properties")


def test_sentences_are_the_document() -> None:
    """
    The sentences, one after the other, are the document letter for letter, white space and list dashes aside.
    """
    document = re.sub(r"(?m)(^| )- ", "", (kling_openapi.HERE / "document.txt").read_text(encoding="utf-8"))
    assert re.sub(r"\s", "", "".join(SENTENCES.values())) == re.sub(r"\s", "", document)
    assert list(SENTENCES) == list(range(1, len(SENTENCES) + 1))


def test_nothing_is_wrong() -> None:
    """
    Every sentence has a location, every statement a grade and a source that exists.
    """
    assert provenance.problems(SERVICE, SENTENCES) == []


@pytest.mark.parametrize("number", SENTENCES)
def test_a_lost_sentence_is_found(number: int) -> None:
    """
    Taking a sentence's number out of every source is noticed, whichever sentence it is.
    """

    def without(node: Any) -> Any:
        """*node* without this source."""
        if isinstance(node, dict):
            return {key: without(value) for key, value in node.items()}
        return [without(item) for item in node if item != f"doc:{number}"] if isinstance(node, list) else node

    complaint = f"sentence {number} is carried nowhere: {SENTENCES[number]}"
    assert complaint in provenance.problems(without(SERVICE), SENTENCES)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"x-grade": "B"}, "schemas.Duration: B is not one of D, S, C, O, A"),
        ({"x-source": []}, "schemas.Duration: no source"),
        ({"x-source": ["wire:create"]}, "schemas.Duration: graded D, and cites no sentence of the document"),
        ({"x-source": ["doc:3", "doc:68"]}, "schemas.Duration: no such source: doc:68"),
        ({"x-source": ["doc:3", "wire:rumour"]}, "schemas.Duration: no such source: wire:rumour"),
        ({"x-source": ["doc:3", "hearsay"]}, "schemas.Duration: no such source: hearsay"),
    ],
)
def test_a_bad_statement_is_found(change: dict[str, Any], complaint: str) -> None:
    """
    A wrong grade, no source, and a source that does not exist are each named with their place.
    """
    contract = copy.deepcopy(SERVICE)
    contract["components"]["schemas"]["Duration"].update(change)
    assert complaint in provenance.problems(contract, SENTENCES)


def test_a_statement_without_any_grade_is_found() -> None:
    """
    A source with no grade, neither its own nor one around it, is no statement.
    """
    contract = {"components": {"schemas": {"Loose": {"x-source": ["doc:1"]}}}}
    assert "schemas.Loose: no grade is not one of D, S, C, O, A" in provenance.problems(contract, {1: "A sentence"})


def test_statements_know_their_place() -> None:
    """
    Locations are readable, list items go by their name, and a place without a grade has that of the place around it.
    """
    found = {it.location: it for it in provenance.statements(SERVICE)}
    assert found["schemas.CreateVideo.prompt"].sources == ("doc:22", "doc:23", "doc:24")
    assert found["schemas.Quality.oneOf[720p]"].grade == at("schemas", "Quality", "x-grade")
    assert found["paths./v1/tasks/{task_id}.get"].grade == "S"
    assert "max_bytes" in found["schemas.CreateVideo.image_start.x-image"].says


def test_properties_with_names_of_keywords() -> None:
    """
    A property called like a keyword is a property: its statement is found, and it is none itself.
    """
    loose = {"description": "d", "x-grade": "D", "x-source": ["doc:1"]}
    contract = {"components": {"schemas": {"Odd": {"properties": {"example": loose, "properties": loose}}}}}
    assert [it.location for it in provenance.statements(contract)] == [
        "schemas.Odd.example",
        "schemas.Odd.properties",
    ]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (3, ["720", "1080", "4", at("schemas", "Duration", "minimum"), at("schemas", "Duration", "maximum")]),
        (6, [at("schemas", "CompletedTask", "properties", "results", "x-link", "lifetime_seconds") // 3600]),
        (17, [IMAGE["max_bytes"] // 1024**2]),
        (18, [IMAGE["min_side_px"]]),
        (19, re.findall(r"\d+", f"{IMAGE['ratio_min']} {IMAGE['ratio_max']}")),
        (23, [FIELDS["prompt"]["maxLength"]]),
        (32, [at("schemas", "Duration", "minimum"), at("schemas", "Duration", "maximum")]),
        (34, [at("schemas", "Duration", "minimum"), at("schemas", "Duration", "maximum")]),
        (35, [at("schemas", "Duration", "default")]),
        (41, [FIELDS["callback_url"]["maxLength"]]),
        (42, [DELIVERY["timeout_seconds"]]),
        (43, [len(DELIVERY["retry_delays_seconds"]), *DELIVERY["retry_delays_seconds"]]),
        (50, TASK["created"]["examples"]),
        (58, [TASK["progress"]["minimum"], TASK["progress"]["maximum"]]),
    ],
)
def test_numbers_are_the_documents(number: int, said: list[Any]) -> None:
    """
    The numbers that a sentence gives are those of the contract, in the same order.
    """
    sentence = re.sub(r"^Generates.*resolution", "", SENTENCES[number])
    assert re.findall(r"\d+", sentence) == [str(value) for value in said]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (13, [at("schemas", "Model", "const")] * 2),
        (16, IMAGE["suffixes"]),
        (21, FIELDS["image_start"]["examples"]),
        (24, FIELDS["prompt"]["examples"]),
        (29, [it["const"] for it in at("schemas", "Quality", "oneOf")]),
        (30, [at("schemas", "Quality", "default")]),
        (46, FIELDS["callback_url"]["examples"]),
        (52, TASK["id"]["examples"]),
        (54, [TASK["model"]["const"]]),
        (56, [TASK["object"]["const"]]),
        (61, at("schemas", "Status", "enum")),
        (62, [at("schemas", "PendingTask", "properties", "status", "const")]),
        (65, at("schemas", "OutputType", "enum")),
        (66, [TASK["type"]["const"]]),
    ],
)
def test_words_are_the_documents(number: int, words: list[str]) -> None:
    """
    The values that a sentence lists are those of the contract, all of them, in the same order.
    """
    listed = re.sub(r"^Formats: ", "", SENTENCES[number])
    assert re.sub(r'[",/ ]+', " ", listed).split() == re.sub(r'[",/ ]+', " ", " ".join(words)).split()


def test_pages_are_current() -> None:
    """
    The pages in `docs/` are what the contract gives now.
    """
    root = DOCS.parent
    more = [
        "--rulebook",
        str(root / "contract_tests/kling_contract/rules/rulebook.yaml"),
        "--evidence",
        str(root / "evidence"),
    ]
    result = CliRunner().invoke(provenance.main, [str(DOCS), "--check", *more])
    assert result.output == ""
    assert result.exit_code == 0


@pytest.mark.parametrize("page", ["provenance.md", "settings.md"])
def test_stale_pages_are_found(page: str, tmp_path: Path) -> None:
    """
    A page that was edited, or is missing, fails the check and is named; writing it again mends it.
    """
    run = CliRunner().invoke
    assert run(provenance.main, [str(tmp_path)]).exit_code == 0
    for spoil in (lambda path: path.write_text("# Edited\n", encoding="utf-8"), Path.unlink):
        spoil(tmp_path / page)
        result = run(provenance.main, [str(tmp_path), "--check"])
        assert result.exit_code == 1
        assert result.output == f"{tmp_path / page}: stale; run scripts/provenance\n"
        assert run(provenance.main, [str(tmp_path)]).exit_code == 0
    assert run(provenance.main, [str(tmp_path), "--check"]).exit_code == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"source": []}, "SV-08: graded D, and cites no sentence"),
        ({"source": ["wire:Create a task"]}, "SV-08: graded D, and cites no sentence"),
        ({"source": ["doc:99"]}, "SV-08: no such source: doc:99"),
        ({"grade": "S", "source": ["wire:Rumours"]}, "SV-08: no such source: wire:Rumours"),
        ({"grade": "I"}, "SV-08: graded I, and cites doc:32, doc:34"),
    ],
)
def test_a_rule_without_its_sentence_is_found(change: dict[str, Any], complaint: str) -> None:
    """
    A rule of grade D cites a sentence of the document, S and C a section of the wire facts, practice nothing.
    """
    rules = rule_sources.rows_of(DOCS.parent / "contract_tests/kling_contract/rules/rulebook.yaml")
    assert list(rule_sources.complaints(rules, SENTENCES)) == []
    next(rule for rule in rules if rule["id"] == "SV-08").update(change)
    assert complaint in list(rule_sources.complaints(rules, SENTENCES))


def test_the_page_shows_rule_grade_and_sentence() -> None:
    """
    Each rule with what it rests on, in the document's own words.
    """
    page = (DOCS / "provenance.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| SV-13 |")]
    assert "| MUST | D |" in row
    assert "doc:28: 4k not supported" in row


def test_a_broken_contract_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Pages of a contract with an unsourced sentence are written for the reader, and the command still fails.
    """
    contract = copy.deepcopy(SERVICE)
    contract["info"]["x-source"].remove("doc:1")
    monkeypatch.setattr(provenance, "service", lambda: contract)
    result = CliRunner().invoke(provenance.main, [str(tmp_path)])
    assert result.exit_code == 1
    assert "sentence 1 is carried nowhere" in result.output
    assert "**nowhere**" in (tmp_path / "provenance.md").read_text(encoding="utf-8")


def test_pages_are_tables() -> None:
    """
    Every row of a table has as many cells as its head, whatever the contract's words are.
    """
    contract = copy.deepcopy(SERVICE)
    contract["components"]["schemas"]["Duration"]["description"] = "a | b\nand `c`"
    for text in (provenance.provenance_page(contract, SENTENCES), provenance.settings_page(contract)):
        for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_settings_list_every_assumption() -> None:
    """
    Each assumption stands in the settings with its default and its values.
    """
    text = provenance.settings_page(SERVICE)
    for name, it in SERVICE["x-assumptions"].items():
        assert f"| `{name}` | " in text
        assert it["summary"] in text
    assert "| `403` | `403`, `404`, `410` |" in text
    assert "integer, at least 1024" in text
    assert "object, each member: number, at least 0" in text
