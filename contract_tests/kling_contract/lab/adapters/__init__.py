"""Ways to drive a client: a command, JSON lines, a function in this process, and drawn traces in real time.

An adapter carries out one `RunRequest` and returns a `RunResult`; it knows no story and no rule.
"""
