"""The only randomness. Everything drawn for a task comes from the seed, the account's key and the task's number."""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from secrets import token_bytes
from struct import unpack


class Rng:
    """A handful of draws that belong to one thing; the same names give the same draws in every process."""

    __slots__ = ("_words",)

    def __init__(self, *names: object) -> None:
        self._words: Iterator[int] = iter(
            unpack("<8Q", blake2b("\n".join(map(str, names)).encode(), digest_size=64).digest())
        )

    def below(self, bound: int) -> int:
        """A whole number from 0 up to, not including, *bound*, which is far below 2**64; a thing has eight such draws."""
        return next(self._words) % bound

    def uniform(self, low: float, high: float) -> float:
        """A number from *low* to *high*, to the millisecond, so that times read well."""
        if low == high:
            return low
        return round(low + (high - low) * self.below(1 << 20) / (1 << 20), 3)

    def text(self, alphabet: str, length: int) -> str:
        """*length* characters of *alphabet*."""
        value = self.below(len(alphabet) ** length)
        pairs, size = _pairs(alphabet), len(alphabet) ** 2
        chosen = ""
        for _ in range(0, length, 2):
            value, place = divmod(value, size)
            chosen += pairs[place]
        return chosen[:length]


@lru_cache(8)
def _pairs(alphabet: str) -> tuple[str, ...]:
    """Return every pair of characters: two at a time are drawn as one, in half the steps."""
    return tuple(first + second for second in alphabet for first in alphabet)


def fingerprint(*names: object, length: int = 12) -> str:
    """A short name for something that must not be shown, such as a key; the same each time."""
    return blake2b("\n".join(map(str, names)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()[:length]


def secret(name: str, seed: int | None) -> bytes:
    """Return 32 bytes that no caller can guess; with a *seed*, the same ones each time, for runs that must be repeatable."""
    return token_bytes(32) if seed is None else blake2b(f"{name} {seed}".encode(), digest_size=32).digest()


def digest(data: bytes) -> str:
    """A name for *data*; the same bytes have the same name."""
    return blake2b(data, digest_size=12).hexdigest()
