"""The contract for the viewer: what it says of itself, and the grade and the source of each statement, as sentences."""

from typing import Any

GRADES = {
    "D": "the vendor's document says so",
    "S": "a sibling page of the same manual says so",
    "C": "seen in first-party client code",
    "A": "assumed; a setting of the fake",
}


def graded(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of *document* in which every description ends with its grade and source."""
    shown: dict[str, Any] = _graded(document)
    legend = "\n".join(f"- **{grade}** {said}" for grade, said in GRADES.items())
    shown["info"]["description"] += f"\n\nGrades of evidence:\n\n{legend}"
    shown.pop(
        "jsonSchemaDialect", None
    )  # the viewer warns of a dialect that is not OpenAPI's own, and shows it all the same
    shown["servers"] = [{"url": "/", "description": "This fake"}, *document.get("servers", ())]
    return shown


def _graded(value: Any) -> Any:
    if isinstance(value, list):
        return [_graded(one) for one in value]
    if not isinstance(value, dict):
        return value
    copy = {name: _graded(one) for name, one in value.items()}
    grade = value.get("x-grade")
    if isinstance(grade, str) and ("description" in value or "summary" in value or "type" in value):
        source = ", ".join(value.get("x-source", ()))
        note = f"**Grade {grade}**" + (f" ({source})" if source else "")
        said = value.get("description", "")
        copy["description"] = f"{said} — {note}" if said else note
    return copy
