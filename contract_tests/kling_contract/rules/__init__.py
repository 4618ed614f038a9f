"""The rulebook (`rulebook.yaml`: one row a rule) and a judge for each rule, a pure function of a history; `verdicts.py` says what broken
rules mean for a run. To find the judge of a rule, search for `@judge("SC-08")`; each module holds a group of them. A judge reads the view
and its row, never a clock, a file or a socket.
"""
