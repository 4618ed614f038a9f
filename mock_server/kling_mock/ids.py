"""The only randomness. Everything drawn for a task comes from the seed, the account's key and the task's number."""

from functools import lru_cache
from hashlib import blake2b
from secrets import token_bytes
from struct import Struct

_NAMES = ["\n".join(["%s"] * count) for count in range(8)]

_words = Struct("<8Q").unpack


class Rng:
    """A handful of draws that belong to one thing; the same names give the same draws in every process."""

    __slots__ = ("_next",)

    def __init__(self, *names: object) -> None:
        words: tuple[int, ...] = _words(blake2b((_NAMES[len(names)] % names).encode()).digest())
        self._next = iter(words).__next__

    def below(self, bound: int) -> int:
        """A whole number from 0 up to, not including, *bound*, which is far below 2**64; a thing has eight such draws."""
        return self._next() % bound

    def uniform(self, low: float, high: float) -> float:
        """A number from *low* to *high*, to the millisecond, so that times read well."""
        if low == high:
            return low
        # As `round(..., 3)` has it, save at a tie, without going through decimal digits.
        return int((low + (high - low) * (self._next() & _MASK) / (_MASK + 1)) * 1000 + 0.5) / 1000

    def text(self, alphabet: str, length: int) -> str:
        """*length* characters of *alphabet*."""
        pairs, size, many = _pairs(alphabet, length)
        value = self._next() % many
        chosen = ""
        for _ in range(0, length, 2):
            chosen += pairs[value % size]
            value //= size
        return chosen[:length]


_MASK = (1 << 20) - 1


@lru_cache(8)
def _pairs(alphabet: str, length: int) -> tuple[tuple[str, ...], int, int]:
    """Return every pair of characters, how many there are, and how many texts of *length*.

    Two characters at a time are drawn as one, in half the steps.
    """
    pairs = tuple(first + second for second in alphabet for first in alphabet)
    return pairs, len(pairs), len(alphabet) ** length


def fingerprint(*names: object, length: int = 12) -> str:
    """A short name for something that must not be shown, such as a key; the same each time."""
    return blake2b("\n".join(map(str, names)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()[:length]


def secret(name: str, seed: int | None) -> bytes:
    """Return 32 bytes that no caller can guess; with a *seed*, the same ones each time, for runs that must be repeatable."""
    return token_bytes(32) if seed is None else blake2b(f"{name} {seed}".encode(), digest_size=32).digest()


def digest(data: bytes) -> str:
    """A name for *data*; the same bytes have the same name."""
    return blake2b(data, digest_size=12).hexdigest()
