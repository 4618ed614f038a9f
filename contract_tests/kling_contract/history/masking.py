"""Keys out of everything that a history keeps; the list of names and the class are the fake's too."""

from kling_common.masking import TOKEN, Headers, Mask, header, is_secret

__all__ = ["TOKEN", "Headers", "Mask", "header", "is_secret"]
