"""The command line, `kling-mock`: options, commands, and the text that people see.

Commands parse, call and print. Logic that a library user would need belongs in the package that owns it.
"""
