"""Two histories held against each other: what differs, what each difference means, and a profile that says the same."""
