"""What the fake and the kit both need and neither of them judges: the checked transport, the local authority, YAML with
line numbers, JSON helpers, and the launcher of a server process.

Imports nothing of the project. What the kit judges (address rules, retry timing) is written twice on purpose and never
moves here.
"""

VERSION = "0.1.0"
"""Of everything that is installed together. It stands here too because asking the installation takes a start a tenth of a second."""
