"""What a contract says of lists of tasks: how many ids a batch may ask for, and what a list can be narrowed to."""

from collections.abc import Iterator, Mapping
from typing import Any


def _operations(document: Mapping[str, Any], operation_id: str) -> Iterator[Mapping[str, Any]]:
    nodes = (node for item in document["paths"].values() for node in item.values() if isinstance(node, dict))
    return (node for node in nodes if node.get("operationId") == operation_id)


def batch_max(document: Mapping[str, Any]) -> int:
    """Return how many tasks may be asked for at once; 0 in a contract without that call."""
    for node in _operations(document, "batchTasks"):
        schema = node["requestBody"]["content"]["application/json"]["schema"]
        return int(schema["properties"]["task_ids"]["maxItems"])
    return 0


def list_filters(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statuses that a list can be narrowed to."""
    for node in _operations(document, "listTasks"):
        named = (each for each in node["parameters"] if each.get("name") == "status")
        return tuple(next((each["schema"]["enum"] for each in named), ()))
    return ()
