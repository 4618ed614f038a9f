"""Writes what is made from the contract's files: `openapi/parsed.json` and `docs/models.md`."""

from pathlib import Path

import click
import orjson

from kling_openapi import checking, generated
from kling_openapi.family import DOCUMENTS, HERE, MODELS, PARSED, PARTS, digest, read_family
from kling_openapi.files import ContractError, parse, read_text
from kling_openapi.models_page import page


def parsed() -> bytes:
    """Return the content of `parsed.json` for the files as they are now.

    Raises:
        ContractError: a file cannot be used.
    """
    texts = {file: read_text(file) for file in (*DOCUMENTS, PARTS, *sorted(MODELS.glob("*.yaml")))}
    return orjson.dumps({digest(text): parse(file, text) for file, text in texts.items()}) + b"\n"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file is stale or a model file is wrong.")
def main(folder: Path, check: bool) -> None:
    """Write what is made from openapi/models/; the page goes into FOLDER, with openapi/add-a-model.md at its end."""
    try:
        family = read_family()
        for model in family.models.values():
            checking.check(model.path, model)
        shown = page(family, read_text(HERE / "add-a-model.md"))
        found = {PARSED: parsed(), folder / "models.md": shown.encode()}
    except ContractError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from error
    generated.write(found, "scripts/models", check=check)


if __name__ == "__main__":
    main()
