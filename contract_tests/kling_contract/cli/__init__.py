"""The command line: options, exit codes, and the last line that a user sees when something breaks. What a command does lives in the other
packages.
"""
