"""One small correct client, standard library alone, with a switch for each way in which clients go wrong.

`python -m kling_contract.mutants.client --limits JSON` is a command that the lab judges like any other; with `--mutant NAME`
one switch is thrown. It shares no code with the reference client, so that the two err apart.
"""
