"""Where the facts are kept. In memory for now; what a store holds is one `Account` a key."""
