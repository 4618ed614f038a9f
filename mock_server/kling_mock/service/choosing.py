"""Which scenario a create follows."""

from bisect import bisect_left
from itertools import accumulate
from typing import Any

from kling_mock.core.errors import InvalidRequest
from kling_mock.core.nearest import nearest
from kling_mock.core.notation import TAG, parse_choice
from kling_mock.ids import Rng
from kling_mock.service.catalogue import Catalogue
from kling_mock.store.interface import Account, Transaction

_MOCK_KEY = "sk-mock-"


class Choosing:
    """Decides by the control queue, the header, a tag in the prompt, the key, the server's default; in this order."""

    def __init__(self, catalogue: Catalogue, default: str, seed: int) -> None:
        self._catalogue, self._default, self._seed = catalogue, default, seed

    def choose(self, account: Account, facts: Transaction, body: dict[str, Any], header: str | None) -> tuple[str, int]:
        """Return the scenario's reference, and how many of the account's creates it has had.

        They are counted since it was queued, or else since the account was reset.

        Raises:
            InvalidRequest: the header or the tag names no scenario.
        """
        queued = facts.next_queued()
        if queued is not None:
            return self.mixed(account, facts, self._catalogue.choose(queued.name, queued.params), queued.used)
        named, where = header, "X-Mock-Scenario"
        if named is None and "[[" in body.get("prompt", ""):
            tag = TAG.search(body["prompt"])
            named, where = (tag[1] + tag[2], "prompt") if tag else (None, where)
        if named is None:
            return self.mixed(account, facts, self._of_key(account.key) or self._default)
        try:
            return self.mixed(account, facts, self._catalogue.choose(*parse_choice(named)))
        except ValueError as error:
            raise InvalidRequest(f"{where}: {error}", param=where) from error

    def mixed(self, account: Account, facts: Transaction, reference: str, nth: int | None = None) -> tuple[str, int]:
        """Return one of a mixture's scenarios, drawn anew for each create; any other reference as it is, and its count."""
        mixture = self._catalogue.behaviour(reference).mixture
        if not mixture:
            return reference, nth or facts.count(f"create {reference}")
        rng = Rng(self._seed, account.key, facts.count("mixture"), "mixture")
        point = rng.uniform(0.0, sum(mixture.values()))
        passed = list(accumulate(mixture.values()))
        return list(mixture)[bisect_left(passed, point, hi=len(passed) - 1)], 1

    def _of_key(self, key: str) -> str | None:
        """Return the scenario in a key such as sk-mock-rate-limited-anything; the longest name wins.

        Raises:
            InvalidRequest: the key names none, and comes near to one.
        """
        if not key.startswith(_MOCK_KEY):
            return None
        rest = key.removeprefix(_MOCK_KEY) + "-"
        names = [name for name in self._catalogue.scenarios if rest.startswith(name + "-")]
        if names:
            return max(names, key=len)
        meant = nearest(rest.partition("-")[0], self._catalogue.scenarios, 0.75) or nearest(
            rest.rpartition("-")[0], self._catalogue.scenarios, 0.75
        )
        if meant is not None:
            raise InvalidRequest(
                f"a key that begins with {_MOCK_KEY} chooses a scenario, and none has this name; did you mean {_MOCK_KEY}{meant}-1? "
                "`kling-mock scenarios` lists them",
                param="Authorization",
            )
        return None
