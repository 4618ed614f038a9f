"""The subcommands of `kling-contract`, a module each, imported when they are called."""
