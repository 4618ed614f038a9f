"""Tokens that stand for a key on the file host: they sign whose they are and when they die, so that nothing is stored for them."""

import hmac


def issue(prefix: str, account: str, expires: int, secret: bytes) -> str:
    """Return a token for the account of that public name, good until *expires* (Unix seconds of its clock)."""
    return f"{prefix}{account}.{expires}.{_seal(secret, account, expires)}"


def read(token: str, prefix: str, secret: bytes) -> tuple[str, int] | None:
    """Return the account's name and when the token dies; None for one that was not made here."""
    account, _, rest = token.removeprefix(prefix).partition(".")
    moment, _, seal = rest.partition(".")
    if not token.startswith(prefix) or not (moment.isascii() and moment.isdigit()) or len(moment) > 15:
        return None
    expires = int(moment)
    fits = hmac.compare_digest(_seal(secret, account, expires).encode(), seal.encode("utf-8", "replace"))
    return (account, expires) if fits else None


def _seal(secret: bytes, account: str, expires: int) -> str:
    return hmac.new(secret, f"upload {account}\n{expires}".encode("utf-8", "replace"), "sha256").hexdigest()[:32]
