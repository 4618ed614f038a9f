"""Uploads: the files API, and the files behind their URLs (wire-facts, calls besides the two endpoints, C)."""

import binascii
import re
from io import BytesIO
from typing import IO, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from kling_common.bodies import iso
from kling_common.transport import FetchFailed, TooLarge
from kling_mock import clock as clocks
from kling_mock.core.errors import FileRefused, InvalidRequest
from kling_mock.media.files import Files, Upload
from kling_mock.store.interface import Account, StoredFile
from kling_mock.web.accounts import page
from kling_mock.web.api import Api, Handler
from kling_mock.web.http import ApiResponse, Request, json_reply
from kling_mock.web.media import noting
from kling_mock.web.media import page as missing

_DATA_URL = re.compile(r"data:[^,]{0,300};base64,", re.IGNORECASE)
_MOST_OF_A_TYPE = 400
_ROW = ("file_id", "file_name", "file_size", "upload_time")
_SPELLINGS = (("file_name", "fileName"), ("upload_path", "uploadPath"))
_UPLOAD_ID = "x-evo-upload-id"


class FilesApi:
    """The operations of the contract's tag `files`, and `GET /uploads/...`."""

    def __init__(self, api: Api, files: Files) -> None:
        self._api, self._world, self._files = api, api.world, files
        self.handlers: dict[str, Handler] = {
            "uploadStream": self.upload_stream,
            "uploadBase64": self.upload_base64,
            "uploadUrl": self.upload_url,
            "listFiles": self.list_files,
            "getFileQuota": self.get_file_quota,
            "deleteFile": self.delete_file,
            "getUploadReceipt": self.get_upload_receipt,
        }

    def upload_stream(self, account: Account, request: Request) -> ApiResponse:
        """`POST /api/v1/files/upload/stream`: a multipart form with one file in the field `file`."""
        with self._api.incoming.form("uploadStream", request) as form:
            if len(form.files) > 1:
                raise InvalidRequest("send one file at a time", param="file")
            file = form.files[0]
            return self._added(account, request, ("file", file.stream, file.filename or ""), form.fields)

    def upload_base64(self, account: Account, request: Request) -> ApiResponse:
        """`POST /api/v1/files/upload/base64`: bare base64 or a data URL; white space in it is ignored."""
        asked = self._api.incoming.json("uploadBase64", request)
        return self._added(account, request, ("base64_data", BytesIO(_decoded(asked["base64_data"])), ""), asked)

    def upload_url(self, account: Account, request: Request) -> ApiResponse:
        """`POST /api/v1/files/upload/url`: fetched as a first frame is, under the same address rules."""
        asked = self._api.incoming.json("uploadUrl", request)
        url = asked["file_url"]
        try:
            data = self._world.frames.download(url, self._files.max_bytes, self._api.access.local(request))
        except TooLarge as error:
            raise FileRefused(f"file_url {error.reason}", why="too_large") from error
        except FetchFailed as error:
            raise FileRefused(f"file_url {error.reason}", why="download") from error
        return self._added(account, request, ("file_url", BytesIO(data), unquote(urlsplit(url).path)), asked)

    def list_files(self, account: Account, request: Request) -> ApiResponse:
        """`GET /api/v1/files/list`: newest first."""
        asked = self._api.incoming.query("listFiles", request)
        files = self._files.living(account)
        shown = page(files, {"page": asked["page"], "page_size": asked["pageSize"]})
        rows = [{name: self._entry(account, stored, request)[name] for name in _ROW} for stored in shown]
        return _done(data={"files": rows, "total": len(files)})

    def get_file_quota(self, account: Account, _: Request) -> ApiResponse:
        """`GET /api/v1/files/quota`"""
        held, most = len(self._files.living(account)), self._files.max_files
        return _done(
            data={
                "user_group": self._world.contract.user_group,
                "used_files": held,
                "max_files": most,
                "remain_files": most - held,
            }
        )

    def delete_file(self, account: Account, _: Request, file_id: str) -> ApiResponse:
        """`DELETE /api/v1/files/{file_id}`"""
        self._files.delete(account, file_id)
        return _done()

    def get_upload_receipt(self, account: Account, request: Request, upload_id: str) -> ApiResponse:
        """`GET /api/v1/files/upload-receipts/{upload_id}`: what became of an upload that named itself."""
        stored = next((file for file in self._files.living(account) if file.upload_id == upload_id), None)
        data = {
            "upload_id": upload_id,
            "state": "outcome_unknown" if stored is None else "done",
            "result_verified": stored is not None,
            "file": None if stored is None else self._entry(account, stored, request),
        }
        return json_reply({"success": True, "data": data})

    def download(self, request: Request, account_name: str, file_id: str) -> ApiResponse:
        """`GET /uploads/ACCOUNT/FILE/NAME`: the whole file, without a key; the caller cuts out ranges. 404 once it has expired."""
        started = clocks.monotonic()
        account = self._world.store.named(account_name)
        stored = self._files.find(account, file_id)
        response = missing(404, "NoSuchKey", "no file is here") if stored is None else _file(stored, request)
        response.note = noting(self._world, account, request, started)
        return response

    def _added(
        self, account: Account, request: Request, sent: tuple[str, IO[bytes], str], asked: dict[str, Any]
    ) -> ApiResponse:
        """Keep what was *sent*: the field it came in, its bytes and its name. Names come in two spellings."""
        field, source, original_name = sent
        if source.seek(0, 2) == 0:
            raise InvalidRequest(f"{field}: the file is empty", param=field)
        name, folder = (asked.get(one, asked.get(other)) for one, other in _SPELLINGS)
        upload = Upload(original_name, name, folder or "", request.headers.get(_UPLOAD_ID) or "")
        stored = self._files.add(account, source, upload)
        return _done(data=self._entry(account, stored, request))

    def _entry(self, account: Account, stored: StoredFile, request: Request) -> dict[str, Any]:
        url = self._api.origins.of(request) + self._files.path(account, stored)
        return {
            "file_id": stored.id,
            "file_name": stored.name,
            "original_name": stored.original_name,
            "file_size": stored.content.size,
            "mime_type": stored.content_type,
            "upload_path": stored.folder,
            "file_url": url,
            "download_url": f"{url}?download=1",
            "upload_time": iso(stored.stored_at),
            "expires_at": iso(stored.expires_at),
        }


def _done(**more: Any) -> ApiResponse:
    return json_reply({"success": True, "code": 200, "msg": "ok", **more})


def _file(stored: StoredFile, request: Request) -> ApiResponse:
    headers = [
        ("content-type", stored.content_type),
        ("etag", f'"{stored.id}"'),
        # Whatever was uploaded runs nothing in this origin's name.
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
    ]
    if dict(parse_qsl(request.query)).get("download") == "1":
        headers.append(("content-disposition", f"attachment; filename*=UTF-8''{quote(stored.name, safe='')}"))
    path = getattr(stored.content, "path", None)  # on disk, in this store
    return ApiResponse(200, b"" if path else stored.content.read(), headers, file=path)


def _decoded(text: str) -> bytes:
    """The bytes of base64, bare or behind `data:...;base64,`."""
    prefix = _DATA_URL.match(text[:_MOST_OF_A_TYPE])
    bare = text[prefix.end() :] if prefix else text
    try:
        return binascii.a2b_base64("".join(bare.split()), strict_mode=True)
    except ValueError as error:
        raise InvalidRequest(f"base64_data: not base64: {error}", param="base64_data") from error
