"""Where facts are kept: one interface (`interface.py`) whose operations are the fake's transactions, and its implementations.

A store knows nothing of the contract, of scenarios or of HTTP, decides nothing and sends nothing: it keeps what `service` asks it to keep.
"""
