"""Names of a form's fields that no client would send: the field is ignored, as others are that the contract does not name."""

from typing import Any

import pytest

STREAM = "/api/v1/files/upload/stream"
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.gif"\r\n\r\nGIF87a123\r\n'


@pytest.mark.parametrize("name", [b"x\\", b"", b"4", "\U0001f600".encode()])
def test_a_field_nobody_knows_is_ignored(rig: Any, name: bytes) -> None:
    """One whose name cannot be read, too."""
    field = b'--b\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n1\r\n'
    answer = rig.call("POST", STREAM, data=field + PART + b"--b--\r\n", content_type=FORM)

    assert answer.status_code == 200, answer.text
