"""The `kling` command, also as `python -m kling_client`: a start is mostly imports, in which no garbage is looked for."""

from typing import NoReturn

from kling_common.starting import without_collector


def main() -> NoReturn:
    """Run the command."""
    with without_collector():
        from kling_client import cli
    cli.main()


if __name__ == "__main__":
    main()
