"""The HTTP surface: the service's routes, the control protocol, the page, links and uploads, and the faults of a scenario.

Handlers translate between a `Request` and an `ApiResponse`; what a call does to an account belongs in `service`. Nothing here opens
a socket or runs a server: that is `serving`.
"""
