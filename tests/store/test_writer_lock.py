"""The lock of those who write to one SQLite file: next to it, held for a block, and never a reason to fail."""

import fcntl
from pathlib import Path

import pytest

from kling_mock.store.sql.database import Database
from kling_mock.store.sql.writer_lock import WriterLock


def is_free(path: Path) -> bool:
    """Return whether another process could have the lock now."""
    with path.open("ab") as mine:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock is."""
    return tmp_path / "kling.db-turn"


def shared(path: Path, patience: float = 30.0) -> WriterLock:
    """Return a lock that is shared."""
    lock = WriterLock(patience)
    lock.share(path)
    return lock


def test_it_is_held_for_the_block_and_by_who_has_it_again(path: Path) -> None:
    """The inner block leaves it to the outer one."""
    lock = shared(path)
    with lock:
        with lock:
            assert not is_free(path)
        assert not is_free(path)
    assert is_free(path)
    lock.close()


def test_who_cannot_have_it_goes_on_without(path: Path) -> None:
    """After its patience, and without taking it from who has it."""
    one, other = shared(path), shared(path, patience=0.0)
    with one:
        with other:
            assert not is_free(path)
        assert not is_free(path)
    with other:
        assert not is_free(path)
    assert is_free(path)
    one.close()
    other.close()


def test_it_is_given_back_when_the_block_fails(path: Path) -> None:
    """As any lock is."""
    lock = shared(path)
    with pytest.raises(ValueError, match="writing"), lock:
        raise ValueError("writing")
    assert is_free(path)
    lock.close()


def test_without_a_file_it_is_of_one_process(tmp_path: Path) -> None:
    """A folder that is not there is no reason to fail."""
    lock = shared(tmp_path / "none" / "kling.db-turn")
    with lock, lock:
        pass
    lock.close()
    assert not (tmp_path / "none").exists()


def test_writers_of_a_database_hold_it_and_readers_do_not(tmp_path: Path) -> None:
    """Next to the database, under its name."""
    database = Database(f"sqlite:///{tmp_path}/kling.db")
    path = tmp_path / "kling.db-turn"
    with database.reading():
        assert is_free(path)
    for writing in (database.writing, database.changing):
        with writing():
            assert not is_free(path)
        assert is_free(path)
    database.close()
