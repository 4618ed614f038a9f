"""Uploaded files: kept for a while, found again by their URL without a network."""

import mimetypes
import re
from dataclasses import dataclass
from typing import IO
from urllib.parse import quote, urlsplit

from kling_common.transport import FetchFailed
from kling_mock.contract import Contract
from kling_mock.core.errors import FileFailed, FileNotFound, FileRefused
from kling_mock.core.moments import after
from kling_mock.core.names import shown_name
from kling_mock.ids import fingerprint
from kling_mock.media.signatures import ENOUGH, media_type
from kling_mock.store.interface import Account, NoRoom, Store, StoredFile, Transaction

_PATH = re.compile(r"/uploads/([^/]+)/([^/]+)/[^/]*")
_ID_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Upload:
    """How an upload is called: the file's own name, the name and folder that were asked for, and the upload's id."""

    original_name: str
    name: str | None = None
    folder: str = ""
    id: str = ""


class Files:
    """Every account's uploads.

    A URL names the account and the file, so its host does not matter: every name of the fake works.
    """

    def __init__(self, contract: Contract, store: Store) -> None:
        self.max_bytes, self.max_files = contract.files.max_bytes, contract.files.max_files
        self._lifetime, self._types = contract.files.lifetime, contract.files.types
        self._longest_name: int = contract.schemas["FileName"]["maxLength"]
        self._store = store

    def add(self, account: Account, source: IO[bytes], upload: Upload) -> StoredFile:
        """Keep a copy of *source*. A file of the same name in the same folder is replaced.

        Raises:
            FileRefused: it is too large or of another type, or the account holds as many files as it may.
            FileFailed: there is no room for it here.
        """
        kind = self._checked(source)
        original = self._shown(upload.original_name, kind)
        name = self._shown(upload.name, kind) if upload.name else original
        with self._store.begin(account) as facts:
            self._check_quota(facts, name, upload.folder)
        try:
            content = self._store.keep(source)
        except NoRoom as error:
            raise FileFailed(str(error)) from error
        with self._store.begin(account) as facts:
            replaced = self._check_quota(facts, name, upload.folder)
            if replaced is not None:
                facts.drop_file(replaced.id)
            now, number = facts.now(), facts.count("upload")
            stored = StoredFile(
                id=fingerprint("file", account.key, number, repr(now), length=_ID_LENGTH),
                name=name,
                original_name=original,
                content_type=kind,
                content=content,
                stored_at=now,
                expires_at=after(now, self._lifetime),
                folder=upload.folder,
                upload_id=upload.id,
            )
            facts.add_file(stored)
        return stored

    def living(self, account: Account) -> list[StoredFile]:
        """Return the account's files, newest first."""
        with self._store.begin(account) as facts:
            return list(reversed(_living(facts)))

    def delete(self, account: Account, file_id: str) -> None:
        """Forget a file.

        Raises:
            FileNotFound: the account has none of this id.
        """
        with self._store.begin(account) as facts:
            if not any(stored.id == file_id for stored in _living(facts)):
                raise FileNotFound("no file has this id", param="file_id")
            facts.drop_file(file_id)

    def find(self, account: Account | None, file_id: str) -> StoredFile | None:
        """Return the account's living file of this id."""
        if account is None:
            return None
        with self._store.begin(account) as facts:
            return next((stored for stored in _living(facts) if stored.id == file_id), None)

    def behind(self, url: str) -> StoredFile | None:
        """Return the living file behind *url*; None for a URL that is not a file's.

        Raises:
            FetchFailed: the file has expired, was deleted, or never was.
        """
        if "/uploads/" not in url:
            return None
        try:
            match = _PATH.fullmatch(urlsplit(url).path)
        except ValueError:
            return None
        account = self._store.named(match[1]) if match else None
        if match is None or account is None:
            return None
        stored = self.find(account, match[2])
        if stored is None:
            raise FetchFailed("could not be fetched: answered 404")
        return stored

    def path(self, account: Account, stored: StoredFile) -> str:
        """Path of the file's URL. The name in it is for people; it finds nothing."""
        return f"/uploads/{account.name}/{stored.id}/{quote(stored.name, safe='')}"

    def _shown(self, name: str, kind: str) -> str:
        return shown_name(name, self._longest_name) or "file" + (mimetypes.guess_extension(kind) or "")

    def _checked(self, source: IO[bytes]) -> str:
        """Return the media type of *source*, which is read from its start again."""
        size = source.seek(0, 2)
        if size > self.max_bytes:
            raise FileRefused(f"the file has {size} bytes; at most {self.max_bytes} are taken", why="too_large")
        source.seek(0)
        kind = media_type(source.read(ENOUGH))
        if kind not in self._types:
            raise FileRefused(f"{kind} is not one of {', '.join(self._types)}", why="type")
        source.seek(0)
        return kind

    def _check_quota(self, facts: Transaction, name: str, folder: str) -> StoredFile | None:
        """Return the file that one of this name replaces."""
        living = _living(facts)
        replaced = next((stored for stored in living if (stored.name, stored.folder) == (name, folder)), None)
        if replaced is None and len(living) >= self.max_files:
            said = f"this account holds {len(living)} files, as many as it may; delete one first"
            raise FileRefused(said, why="quota")
        return replaced


def _living(facts: Transaction) -> list[StoredFile]:
    """Return the files whose time is not over, oldest first; the others are forgotten."""
    now, living = facts.now(), []
    for stored in facts.files():
        if stored.expires_at > now:
            living.append(stored)
        else:
            facts.drop_file(stored.id)
    return living
