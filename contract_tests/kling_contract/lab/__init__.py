"""The client lab: runs a client through stories against a fake, and records what it did and what it said."""
