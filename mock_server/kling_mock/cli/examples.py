"""Two examples and the exit codes on each help screen."""

import click

from kling_common.help import epilog

EXAMPLES: dict[str, tuple[str, str]] = {
    "serve": (
        "kling-mock serve --clock x60 --images offline",
        'kling-mock serve --port 0 --scenario "failed code=service_error"',
    ),
    "exec": ("kling-mock exec -- pytest -x", "kling-mock exec --impersonate -- node make-video.mjs"),
    "advance": ("kling-mock advance 10m", "kling-mock advance 1h30m --json"),
    "freeze": ("kling-mock freeze", "kling-mock freeze --api-key sk-test"),
    "resume": ("kling-mock resume", "kling-mock resume --url http://127.0.0.1:4011"),
    "reset": ("kling-mock reset", "kling-mock reset --api-key sk-test"),
    "tasks": ("kling-mock tasks", "kling-mock tasks --json"),
    "deliveries": ("kling-mock deliveries", "kling-mock deliveries --task ID"),
    "journal": ("kling-mock journal --since 100", "kling-mock journal --har run.har"),
    "scenarios": ("kling-mock scenarios", "kling-mock scenarios --json"),
    "cancel": ("kling-mock cancel ID", "kling-mock cancel ID --json"),
    "resend": ("kling-mock resend ID", "kling-mock resend ID --json"),
    "wait": ("kling-mock wait ID", "kling-mock wait ID --until delivered --timeout 30"),
    "courier": (
        "kling-mock courier --store postgresql://localhost/kling",
        "kling-mock courier --store postgresql://localhost/kling --callback-ca ca.pem",
    ),
    "contract": (
        "kling-mock contract > openapi.json",
        "kling-mock contract --models kling-v3-turbo-image-to-video --server http://127.0.0.1:4010",
    ),
    "mcp": ("kling-mock mcp", '{"mcpServers": {"kling-mock": {"command": "kling-mock", "args": ["mcp"]}}}'),
}
_CODES = {
    "exec": "that of COMMAND; 2 where the fake did not start.",
    "wait": "0 it is so; 1 it was not so in time, or never can be; 2 usage, or no fake responds.",
}
_USUAL = "0 good; 2 usage, or no fake responds."
_GROUP = ("kling-mock serve", "kling-mock exec -- pytest -x")


def add_examples(group: click.Group) -> None:
    """Give *group* and each of its commands their examples and exit codes."""
    group.epilog = epilog(_GROUP, _USUAL)
    for name, command in group.commands.items():
        if name not in EXAMPLES:
            continue  # hidden: not for people
        command.epilog = epilog(EXAMPLES[name], _CODES.get(name, _USUAL))
