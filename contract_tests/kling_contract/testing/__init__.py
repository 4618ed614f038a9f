"""The rulebook as pytest tests, and the fixtures that give a user's own tests the same history. Importing the plugin drives nothing."""
