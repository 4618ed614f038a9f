"""Names of files as callers send them, made fit to be shown."""

import re
import unicodedata

_SEPARATORS = re.compile(r"[/\\]")
_AWKWARD = re.compile(r'[<>:"|?*]')
_LONGEST_SUFFIX = 16


def shown_name(text: str, most: int) -> str:
    """The last part of *text* read as a path: printable, at most *most* bytes of UTF-8, its suffix kept; empty where nothing is left.

    No path leads anywhere from it: no separators, no dots at its ends, no control or direction characters.
    """
    last = _SEPARATORS.split(unicodedata.normalize("NFC", text))[-1]
    printable = "".join(character for character in last if character.isprintable())
    return _cut(_AWKWARD.sub("_", printable).strip(" ."), most).strip(" .")


def _cut(name: str, most: int) -> str:
    if len(name.encode()) <= most:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, dot, suffix = name, "", ""
    left = most - len((dot + suffix).encode())
    return stem.encode()[:left].decode(errors="ignore") + dot + suffix
