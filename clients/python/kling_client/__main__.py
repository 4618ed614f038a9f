"""`python -m kling_client` is the `kling` command."""

from kling_client.cli import main

main()
