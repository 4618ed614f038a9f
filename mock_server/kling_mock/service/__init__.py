"""What callers and time do to an account: creating, reading, settling, calling back.

Policy lives here, over the store's interface; HTTP does not, nor does anything that knows which store it is.
"""
