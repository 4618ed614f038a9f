"""What a file is by its first bytes, whatever its name or a header says."""

import re
from dataclasses import dataclass

UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Signature:
    """How files of one kind begin; `name` is what people call the kind."""

    name: str
    media_type: str
    beginning: re.Pattern[bytes]


def _signature(name: str, media_type: str, pattern: bytes) -> Signature:
    return Signature(name, media_type, re.compile(pattern, re.DOTALL))


_KNOWN = (
    _signature("JPEG", "image/jpeg", rb"\xff\xd8\xff"),
    _signature("PNG", "image/png", rb"\x89PNG\r\n\x1a\n"),
    _signature("GIF", "image/gif", rb"GIF8[79]a"),
    _signature("WEBP", "image/webp", rb"RIFF....WEBP"),
    _signature("BMP", "image/bmp", rb"BM....\0\0\0\0"),
    _signature("TIFF", "image/tiff", rb"II\*\0|MM\0\*"),
    _signature("AVIF", "image/avif", rb"....ftypavi[fs]"),
    _signature("HEIC", "image/heic", rb"....ftyp(hei[cmsx]|hev[cx]|mif1|msf1)"),
    _signature("QuickTime", "video/quicktime", rb"....ftypqt  "),
    _signature("MP4", "video/mp4", rb"....ftyp(iso[m2-9]|mp4[12]|mmp4|avc1|dash|M4V |M4VP|MSNV|f4v )"),
    _signature("WebM", "video/webm", rb"\x1aE\xdf\xa3"),
    _signature("AVI", "video/x-msvideo", rb"RIFF....AVI "),
    _signature("OGG", "audio/ogg", rb"OggS"),
    _signature("FLAC", "audio/flac", rb"fLaC"),
    _signature("WAV", "audio/wav", rb"RIFF....WAVE"),
    _signature("MP3", "audio/mpeg", rb"ID3|\xff[\xf2\xf3\xfb]"),
    _signature("PDF", "application/pdf", rb"%PDF-"),
    _signature("SVG", "image/svg+xml", rb"(?i:\s*(<\?xml[^>]*>\s*)?<svg\b)"),
    _signature("HTML", "text/html", rb"(?i:\s*<(!doctype\s+html|html)\b)"),
)

ENOUGH = 1024
"""Bytes of a file that are enough to recognise it."""


def recognised(data: bytes) -> Signature | None:
    """The kind of file that *data* begins as; None for one that is not known here."""
    head = data[:ENOUGH]
    return next((known for known in _KNOWN if known.beginning.match(head)), None)


def media_type(data: bytes) -> str:
    """The media type of the file that *data* begins as."""
    found = recognised(data)
    return found.media_type if found else UNKNOWN
