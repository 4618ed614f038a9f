"""A history as judges look at it: calls with their JSON, a record of each task, readings of credits, and the contract's limits.

All of it is derived and nothing is judged, so no module here knows a rule or sends a request.
"""
