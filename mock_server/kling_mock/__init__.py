"""`kling-mock`: a fake of the service that behaves like it, on a clock that tests can move."""

__version__ = "0.1.0"
