"""Multipart forms, read by Werkzeug."""

from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from kling_mock.core.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from kling_mock.web.http import Request

_FORM = "multipart/form-data"
_PARTS = 32
_IN_MEMORY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its fields, and the files in its part *file*."""

    fields: dict[str, str]
    files: list[FileStorage]


def read(request: Request, most_of_fields: int, opened: ExitStack) -> Form:
    """Return the form in the body of *request*; *opened* closes its files.

    Raises:
        RequestTooLarge: it has too many parts, or more than *most_of_fields* bytes of fields.
        UnsupportedMediaType: it says it is something else.
        InvalidRequest: it cannot be read.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != _FORM:
        raise UnsupportedMediaType(f"send {_FORM}, not {media_type or 'a body without a type'}")

    def part(**_: Any) -> IO[bytes]:
        return cast("IO[bytes]", opened.enter_context(SpooledTemporaryFile(_IN_MEMORY)))

    parser = FormDataParser(cast("Any", part), most_of_fields, silent=False, max_form_parts=_PARTS)
    try:
        _, fields, files = parser.parse(BytesIO(request.body), media_type, len(request.body), options)
    except RequestEntityTooLarge as error:
        raise RequestTooLarge(f"a form has at most {_PARTS} parts, its fields {most_of_fields} bytes") from error
    except (ValueError, LookupError) as error:
        raise InvalidRequest(f"the form cannot be read: {error}") from error
    fields.poplist("file")  # text in its place is no file
    return Form({name: it for name, it in fields.to_dict().items() if _is_text(name)}, files.getlist("file"))


def _is_text(name: str | None) -> bool:
    """Return whether a field has a name in UTF-8; one without is no field that anybody knows, and is ignored as those are."""
    try:
        return name is not None and bool(name.encode())
    except UnicodeEncodeError:
        return False
