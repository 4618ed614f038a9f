"""Creates repeated with the same Idempotency-Key: one task and one charge, however many come at once (wire-facts "Idempotency", C).

A key stands for a task from the transaction that makes the task, so creates with one key that come at the same time are judged
each for itself, and the first to commit makes the task of all of them.
"""

from typing import Any

import orjson

from kling_mock.contract import Contract
from kling_mock.core.errors import IdempotencyConflict, InvalidRequest
from kling_mock.core.moments import after
from kling_mock.core.tasks import Task
from kling_mock.ids import digest
from kling_mock.store.interface import Remembered, Transaction

HEADER = "Idempotency-Key"


class Idempotency:
    """Knows which create a key stands for. With *honoured* false the header means nothing."""

    def __init__(self, contract: Contract, honoured: bool) -> None:
        self._honoured = honoured
        self._shape = contract.shape(contract.parameter("createVideo", HEADER))
        self._lifetime = contract.idempotency_seconds

    def key(self, header: str | None) -> str | None:
        """Return the key that counts; None where there is none, or none counts.

        Raises:
            InvalidRequest: it is malformed.
        """
        if header is None or not self._honoured:
            return None
        if not self._shape.fits(header):
            problem = self._shape.problem(header, HEADER)
            raise InvalidRequest(problem.message if problem else f"{HEADER} is malformed", param=HEADER)
        return header

    def made(self, facts: Transaction, key: str, meaning: str) -> Task | None:
        """Return the task that *key* stands for, unless it was forgotten.

        Raises:
            IdempotencyConflict: the key was used with another body.
        """
        known = facts.remembered(key)
        if known is None:
            return None
        if known.body != meaning:
            raise IdempotencyConflict(f"this {HEADER} was used with another body", param=HEADER)
        return facts.task(known.task_id)

    def remember(self, facts: Transaction, key: str, meaning: str, task: Task) -> None:
        """Let *key* stand for *task* from now on."""
        facts.remember(key, Remembered(meaning, after(facts.now(), self._lifetime), task.id))


def same(body: dict[str, Any], raw: bytes) -> str:
    """Return a name that bodies share when they say the same.

    Their decoded JSON has to be equal: the order of members does not count, and 5 is 5.0. A default that is spelled out is another
    body. What cannot be written again, such as a body nested hundreds deep, is compared letter for letter.
    """
    plain = {name: int(value) if _whole(value) else value for name, value in body.items()}
    try:
        return digest(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:
        return digest(raw)


def _whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()
