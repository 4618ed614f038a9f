"""Pure rules of the fake: they take `now` and facts, and touch no clock, randomness, network or framework."""
