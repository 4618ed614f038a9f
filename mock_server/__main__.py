"""`python -m mock_server` is `kling-mock`."""

from mock_server.cli import main

main()
