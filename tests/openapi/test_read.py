"""Reading a contract file: what is in it is what is read, and what cannot be used is said."""

from pathlib import Path

import pytest

import kling_openapi


def test_a_change_is_read(tmp_path: Path) -> None:
    """
    A number changed in the file is the number that is read; the shipped contract stays as it is.
    """
    text = kling_openapi.SERVICE.read_text(encoding="utf-8")
    assert text.count("maximum: 15\n") == 1
    changed = tmp_path / "contract.yaml"
    changed.write_text(text.replace("maximum: 15\n", "maximum: 20\n"), encoding="utf-8")

    assert kling_openapi.read(changed)["components"]["schemas"]["Duration"]["maximum"] == 20
    assert kling_openapi.read()["components"]["schemas"]["Duration"]["maximum"] == 15


def test_service_is_read_once() -> None:
    """
    The shared document is the file's content, and one object for all who ask.
    """
    assert kling_openapi.service() is kling_openapi.service()
    assert kling_openapi.service() == kling_openapi.read(kling_openapi.SERVICE)


def test_missing_file(tmp_path: Path) -> None:
    """
    A file that is not there is named, with the system's own words.
    """
    with pytest.raises(kling_openapi.ContractError, match=r"gone\.yaml: No such file"):
        kling_openapi.read(tmp_path / "gone.yaml")


def test_folder(tmp_path: Path) -> None:
    """
    A folder in place of a file is refused the same way.
    """
    with pytest.raises(kling_openapi.ContractError, match="Is a directory"):
        kling_openapi.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"openapi: [3.1",
        b"\topenapi: 3.1.0",
        b"openapi: 3.1.0\n\xff\xfe",
        b"a: *nothing",
        b"a: !!python/object:os.system {}",
    ],
    ids=["unclosed", "tab", "bytes", "alias", "object"],
)
def test_not_yaml(tmp_path: Path, content: bytes) -> None:
    """
    What is not YAML, not text, or YAML that would run code, is refused by name.
    """
    path = tmp_path / "contract.yaml"
    path.write_bytes(content)
    with pytest.raises(kling_openapi.ContractError, match=r"contract\.yaml: not YAML"):
        kling_openapi.read(path)


@pytest.mark.parametrize(
    "content", ["", "- openapi", "just words", "openapi: 3.0.3\n", "swagger: '2.0'\n", "openapi:\n"]
)
def test_not_openapi(tmp_path: Path, content: str) -> None:
    """
    YAML that is no OpenAPI 3.1 document is refused by name.
    """
    path = tmp_path / "contract.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(kling_openapi.ContractError, match=r"contract\.yaml: not an OpenAPI 3\.1 document"):
        kling_openapi.read(path)
