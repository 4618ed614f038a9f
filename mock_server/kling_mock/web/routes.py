"""Finds the service's own calls by method and path, save those about files, as Flask routes them."""

from functools import lru_cache

from kling_mock.web.parts import Fake

_KEPT = 1024


class Routes:
    """The calls of *fake* that need no Flask: `find(method, path)`."""

    def __init__(self, fake: Fake) -> None:
        contract = fake.world.contract
        own = [contract.operations[name] for name in fake.api.handlers if name not in contract.file_operations]
        self._here = {(it.method, it.path): it.id for it in own if "{" not in it.path}
        self._task_prefix: str = contract.operations["getTask"].path.partition("{")[0]
        self._literal = frozenset(it.path for it in contract.operations.values() if "{" not in it.path)

        self.find = lru_cache(_KEPT)(self._find)

    def _find(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """Return the operationId of a call, and what stands in its path; None for every other."""
        operation = self._here.get((method, path))
        if operation is not None:
            return operation, {}
        if method == "GET" and path.startswith(self._task_prefix):
            task_id = path[len(self._task_prefix) :]
            if task_id and "/" not in task_id and path not in self._literal:
                return "getTask", {"task_id": task_id}
        return None
