"""Small billed services for the tests of money: the standard library alone, nothing of the fake and nothing of the kit.

Each keeps a ledger of its own: what it accepted, what it charged, and every request that it saw.
"""
