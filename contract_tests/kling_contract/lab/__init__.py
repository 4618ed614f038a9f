"""The client lab: runs a client through stories against a fake, and records what it did and what it said.

`run.py` runs all stories, `lab.py` one of them, `stories/` holds them as data, `adapters/` drive the client, `real.py` puts it in front of
the real service. `pace.py` says how fast a client may go and when it is ended by force, `process.py` ends the client. Nothing here judges:
rules look at the history afterwards, and whether a client hung is CP-13 and CP-14 in `rules/client_polling.py`.
"""
