"""Making a history with a server: what the target is, sessions that send and record, the guard in front of what costs money, the
receiver of callbacks, the account's clock. Nothing here decides whether an answer is right.
"""
