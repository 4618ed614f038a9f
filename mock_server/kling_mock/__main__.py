"""`python -m mock_server` is `kling-mock`."""

from kling_mock.cli.main import main

main()
