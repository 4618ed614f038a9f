"""Writes what is made from the model files: `openapi/parsed.json`."""

import click
import orjson

from kling_openapi import checking
from kling_openapi.family import MODELS, PARSED, PARTS, digest, read_family
from kling_openapi.files import ContractError, parse, read_text


def parsed() -> bytes:
    """Return the content of `parsed.json` for the files as they are now.

    Raises:
        ContractError: a file cannot be used.
    """
    texts = {file: read_text(file) for file in (PARTS, *sorted(MODELS.glob("*.yaml")))}
    return orjson.dumps({digest(text): parse(file, text) for file, text in texts.items()}) + b"\n"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file is stale or a model file is wrong.")
def main(check: bool) -> None:
    """Write what is made from openapi/models/."""
    try:
        for model in read_family().models.values():
            checking.check(model.path, model)
        found = parsed()
    except ContractError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from error
    if not check:
        PARSED.write_bytes(found)
    elif not PARSED.is_file() or PARSED.read_bytes() != found:
        click.echo(f"{PARSED}: stale; run scripts/models", err=True)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
