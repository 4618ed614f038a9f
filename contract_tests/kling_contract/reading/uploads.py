"""What a contract says of uploaded files, and the uploads that a history shows."""

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kling_contract.reading.contract import Contract
from kling_contract.reading.view import MISSING, Call, View

UPLOADS = ("uploadBase64", "uploadUrl", "uploadStream")
SPELLINGS = {"file_name": "fileName", "upload_path": "uploadPath"}
"""Members of an upload in both of their spellings; answers have the first one."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The media types that are taken, the codes that say more than a status, and rows of a page."""

    types: tuple[str, ...]
    codes: Mapping[str, int]
    rows: int
    most_rows: int


def file_limits(contract: Contract) -> FileLimits:
    """Return what the contract says of files."""
    schemas = contract.document["components"]["schemas"]
    limits = schemas["UploadedFile"]["x-files"]
    listed = contract.document["paths"][contract.named("listFiles").template]["get"]["parameters"]
    rows = next(each["schema"] for each in listed if each["name"] == "pageSize")
    return FileLimits(
        tuple(limits["types"]),
        schemas["FileError"]["properties"]["code"]["x-codes"],
        rows["default"],
        rows["maximum"],
    )


def file_calls(view: View, *names: str) -> Iterator[Call]:
    """Calls of the files API, of some operations where *names* says which; faults that the driver forced are left out."""
    for call in view.calls:
        if (
            call.operation is not None
            and call.operation.files
            and not call.faulty
            and call.name in (names or (call.name,))
        ):
            yield call


def refused(call: Call) -> bool:
    """Whether a call was refused, by its status or by its body alone."""
    return call.status >= 400 or (isinstance(call.got, dict) and call.got.get("success") is False)


def done(call: Call) -> bool:
    """Whether a call was answered and not refused."""
    return call.accepted and not refused(call)


def data_of(call: Call) -> dict[str, Any]:
    """The object `data` of an answer; empty where there is none."""
    data = call.got.get("data") if isinstance(call.got, dict) else None
    return data if isinstance(data, dict) else {}


def rows_of(call: Call) -> list[str]:
    """The ids of the files in an answered list."""
    rows = data_of(call).get("files")
    found = (row.get("file_id") for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return [each for each in found if isinstance(each, str)]


def file_id(call: Call) -> str:
    """The id that an upload was given, or that a call of one file names; empty where there is none."""
    found = call.path.rpartition("/")[2] if call.name == "deleteFile" else data_of(call).get("file_id")
    return found if isinstance(found, str) else ""


def place_of(call: Call) -> tuple[str, str]:
    """The name and the folder that an upload was to have; as the answer says where the request is no JSON or does not say."""
    said = data_of(call)
    return str(_asked(call, "file_name", said)), str(_asked(call, "upload_path", said))


def _asked(call: Call, name: str, said: Mapping[str, Any]) -> Any:
    asked = [value for each in (name, SPELLINGS[name]) if (value := call.asked(each)) is not MISSING]
    return asked[0] if asked else said.get(name, "")


def sent_bytes(call: Call) -> bytes | None:
    """The file that an upload as base64 carried; None where the history does not hold it."""
    text = call.asked("base64_data")
    if not isinstance(text, str) or not call.posted or call.event.request.body.truncated:
        return None
    bare = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return binascii.a2b_base64("".join(bare.split()), strict_mode=True)
    except ValueError:
        return None
