"""Requests drawn from the contract's schemas by Schemathesis."""

from contract_tests.drivers.room import Room


def run(room: Room) -> list[str]:
    """Lines for the user."""
    del room
    return []
