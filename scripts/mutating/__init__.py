"""A mutation run on purpose, with cosmic-ray: a stated sample, a stated seed, and a table of what the tests notice."""
