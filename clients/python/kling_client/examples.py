"""Two examples and the exit codes on each help screen of `kling`."""

import click

from kling_common.help import epilog

EXAMPLES = {
    "generate": (
        "kling generate https://image.test/1280x720.jpg --out video.mp4",
        'kling generate photo.jpg --prompt "slow waves" --duration 10 --quality 1080p',
    ),
    "resume": ("kling resume TASK_ID --out video.mp4", "kling resume video.mp4.kling.json"),
    "status": ("kling status TASK_ID", "kling status TASK_ID --json"),
    "credits": ("kling credits", "kling credits --json --base-url http://127.0.0.1:4010"),
}
_GROUP = ("kling generate https://image.test/1280x720.jpg --out video.mp4", "kling generate --help")
_WAITS = (
    "0 the video is saved; 2 usage or set-up; 3 the task failed; 4 refused (key, balance, permission, request); 5 gave up at the "
    "deadline; 6 a create whose outcome is not known; 7 network or server; 8 completed, but not saved; 9 another run is at it; "
    "10 interrupted; 77 cannot do this here."
)
_READS = "0 good; 2 usage or set-up; 4 refused (key, unknown task); 7 network or server; 10 interrupted."


def add_examples(group: click.Group) -> None:
    """Give *group* and each of its commands their examples and exit codes."""
    group.epilog = epilog(_GROUP, _WAITS)
    for name, command in group.commands.items():
        command.epilog = epilog(EXAMPLES[name], _READS if name in ("status", "credits") else _WAITS)
