"""What happened, as events in the order in which they ended, and the files that hold them: JSON Lines, HAR, journals of a fake. Keys are
hashed on the way in. Nothing here knows a rule, and nothing but drivers and readers of files writes events.
"""
