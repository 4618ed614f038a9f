"""Uploaded files: kept for a while, found again by their URL without a network."""

import mimetypes
import re
from collections.abc import Callable
from typing import IO
from urllib.parse import quote, urlsplit

from kling_common.transport import FetchFailed
from kling_mock.config import Choices
from kling_mock.contract import Contract
from kling_mock.core.errors import FileNotFound, FileQuotaExceeded, InternalError, RequestTooLarge
from kling_mock.core.names import shown_name
from kling_mock.ids import fingerprint
from kling_mock.media.signatures import ENOUGH, media_type
from kling_mock.store.disk import Disk, NoRoom
from kling_mock.store.memory import Account, StoredFile

_PATH = re.compile(r"/uploads/([^/]+)/([^/]+)/[^/]*")
_ID_LENGTH = 24


class Files:
    """Every account's uploads. *named* finds an account by the name it has in URLs.

    A URL names the account and the file, so its host does not matter: every name of the fake works.
    """

    def __init__(self, contract: Contract, choices: Choices, named: Callable[[str], Account | None]) -> None:
        limits = contract.files
        self.max_bytes: int = limits["max_bytes"]
        self.max_files: int = limits["max_files"]
        self._lifetime: float = limits["lifetime_seconds"]
        self._longest_name: int = contract.schemas["FileName"]["maxLength"]
        self._disk = Disk(choices.upload_store_bytes)
        self._named = named

    def add(self, account: Account, source: IO[bytes], original_name: str, name: str | None = None) -> StoredFile:
        """Keep a copy of *source*; the same bytes twice are two files.

        Raises:
            RequestTooLarge: it is larger than a file may be.
            FileQuotaExceeded: the account holds as many files as it may.
            InternalError: there is no room for it here.
        """
        size = source.seek(0, 2)
        if size > self.max_bytes:
            raise RequestTooLarge(f"the file has {size} bytes; at most {self.max_bytes} are taken")
        self._check_quota(account)
        source.seek(0)
        kind = media_type(source.read(ENOUGH))
        try:
            content = self._disk.keep(source)
        except NoRoom as error:
            raise InternalError(str(error)) from error
        original = self._shown(original_name, kind)
        with account.lock:
            self._check_quota(account)
            now = account.clock.now()
            number = account.count("upload")
            stored = StoredFile(
                id=fingerprint("file", account.key, number, repr(now), length=_ID_LENGTH),
                name=self._shown(name, kind) if name else original,
                original_name=original,
                content_type=kind,
                content=content,
                stored_at=now,
                expires_at=now + self._lifetime,
            )
            account.files[stored.id] = stored
        return stored

    def living(self, account: Account) -> list[StoredFile]:
        """The account's files, newest first."""
        with account.lock:
            self._drop_expired(account)
            return list(reversed(account.files.values()))

    def delete(self, account: Account, file_id: str) -> None:
        """Forget a file.

        Raises:
            FileNotFound: the account has none of this id.
        """
        with account.lock:
            self._drop_expired(account)
            if account.files.pop(file_id, None) is None:
                raise FileNotFound("no file has this id", param="file_id")

    def find(self, account: Account | None, file_id: str) -> StoredFile | None:
        """The account's living file of this id."""
        if account is None:
            return None
        with account.lock:
            self._drop_expired(account)
            return account.files.get(file_id)

    def content(self, url: str) -> bytes | None:
        """Bytes of the living file behind *url*; None for a URL that is not a file's.

        Raises:
            FetchFailed: the file has expired, was deleted, or never was.
        """
        if "/uploads/" not in url:
            return None
        try:
            match = _PATH.fullmatch(urlsplit(url).path)
        except ValueError:
            return None
        account = self._named(match[1]) if match else None
        if match is None or account is None:
            return None
        stored = self.find(account, match[2])
        if stored is None:
            raise FetchFailed("could not be fetched: answered 404")
        return stored.content.read()

    def path(self, account: Account, stored: StoredFile) -> str:
        """Path of the file's URL. The name in it is for people; it finds nothing."""
        return f"/uploads/{account.name}/{stored.id}/{quote(stored.name, safe='')}"

    def _shown(self, name: str, kind: str) -> str:
        return shown_name(name, self._longest_name) or "file" + (mimetypes.guess_extension(kind) or "")

    def _check_quota(self, account: Account) -> None:
        held = len(self.living(account))
        if held >= self.max_files:
            raise FileQuotaExceeded(f"this account holds {held} files, as many as it may; delete one first")

    def _drop_expired(self, account: Account) -> None:
        """All files live equally long, so the oldest stand first."""
        now = account.clock.now()
        while account.files:
            oldest = next(iter(account.files.values()))
            if oldest.expires_at > now:
                return
            del account.files[oldest.id]
