"""The client lab: runs a client through stories against a fake, and records what it did and what it said.

`run.py` runs all stories, `lab.py` one of them, `stories/` holds them as data, `adapters/` drive the client. Nothing here
judges: rules look at the history afterwards.
"""
