"""`python -m kling_mock` is `kling-mock`."""

from kling_mock.cli.main import main

main()
