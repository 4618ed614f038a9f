"""The fake as a running server: sockets, the CONNECT proxy, certificates, child processes and the health check.

Nothing here knows what an operation means; requests go to `web` as they are.
"""
