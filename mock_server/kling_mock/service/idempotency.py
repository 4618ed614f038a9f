"""Creates repeated with the same Idempotency-Key: one task and one charge, however many come at once (wire-facts "Idempotency", C)."""

from typing import Any

import orjson

from kling_mock.contract import Contract
from kling_mock.core.errors import IdempotencyConflict, InvalidRequest
from kling_mock.core.tasks import Task
from kling_mock.ids import digest
from kling_mock.media.frames import WouldBlock
from kling_mock.store.memory import Account, Remembered

HEADER = "Idempotency-Key"


class Idempotency:
    """Knows which create a key stands for. With *honoured* false the header means nothing."""

    def __init__(self, contract: Contract, honoured: bool) -> None:
        self._honoured = honoured
        self._shape = contract.shape(contract.parameter("createVideo", HEADER))
        self._lifetime = contract.idempotency_seconds

    def key(self, header: str | None) -> str | None:
        """The key that counts; None where there is none, or none counts.

        Raises:
            InvalidRequest: it is malformed.
        """
        if header is None or not self._honoured:
            return None
        if not self._shape.fits(header):
            problem = self._shape.problem(header, HEADER)
            raise InvalidRequest(problem.message if problem else f"{HEADER} is malformed", param=HEADER)
        return header

    def claim(
        self, account: Account, key: str, body: dict[str, Any], raw: bytes, *, may_block: bool
    ) -> Task | Remembered:
        """The task that *key* stands for; or the key's entry, now the caller's, who must `release` it when the create is over.

        While another create with the key is under way this waits for its outcome.

        Raises:
            IdempotencyConflict: the key was used with another body.
            WouldBlock: it would have to wait, and *may_block* is false.
        """
        meaning = same(body, raw)
        with account.lock:
            self._drop_expired(account)
            while (known := account.idempotency.get(key)) is not None:
                if known.body != meaning:
                    raise IdempotencyConflict(f"this {HEADER} was used with another body", param=HEADER)
                if known.task_id is not None:
                    task = account.tasks.get(known.task_id)
                    if task is not None:
                        return task
                    break  # the task was forgotten, and what its key stood for with it
                if not may_block:
                    raise WouldBlock
                account.changed.wait()
            account.idempotency.pop(key, None)
            claimed = account.idempotency[key] = Remembered(meaning, account.clock.now() + self._lifetime)
            return claimed

    def release(self, account: Account, key: str, claimed: Remembered, task: Task | None) -> None:
        """The create is over: *key* stands for *task* from now on, or for nothing where none was made."""
        with account.lock:
            if task is not None:
                claimed.task_id = task.id
            elif account.idempotency.get(key) is claimed:  # a reset may have forgotten it meanwhile
                del account.idempotency[key]
            account.changed.notify_all()

    def _drop_expired(self, account: Account) -> None:
        """Forget the keys whose time is over. All live equally long, so the oldest stand first."""
        now = account.clock.now()
        while account.idempotency:
            key, oldest = next(iter(account.idempotency.items()))
            if oldest.expires_at > now or oldest.task_id is None:
                return
            del account.idempotency[key]


def same(body: dict[str, Any], raw: bytes) -> str:
    """A name that bodies share when they say the same.

    Their decoded JSON has to be equal: the order of members does not count, and 5 is 5.0. A default that is spelled out is another
    body. What cannot be written again, such as a body nested hundreds deep, is taken letter for letter.
    """
    plain = {name: int(value) if _whole(value) else value for name, value in body.items()}
    try:
        return digest(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:
        return digest(raw)


def _whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()
