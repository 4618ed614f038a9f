"""Two examples and the exit codes on each help screen of `kling-contract`."""

from kling_common.help import epilog

EXAMPLES = {
    "server": (
        "kling-contract server http://127.0.0.1:4010 --report report",
        "kling-contract server 127.0.0.1:4010 --quick --only SV-08,SV-09",
    ),
    "client": (
        "kling-contract client -- kling generate {image} --out {out}",
        "kling-contract client --impersonate --story happy -- node make-video.mjs",
    ),
    "check": ("kling-contract check run.har --report report", "kling-contract check a.jsonl b.jsonl --skip SW-01"),
    "matrix": (
        "kling-contract matrix python/report.json node/report.json --out side-by-side",
        "kling-contract matrix reports/* --out side-by-side",
    ),
    "record": (
        "kling-contract record --max-usd 1 --out run.jsonl -- node make-video.mjs",
        "kling-contract record --upstream http://127.0.0.1:4010 --out run.jsonl -- kling generate {image} --out {out}",
    ),
    "compare": (
        "kling-contract compare before.jsonl after.jsonl",
        "kling-contract compare http://127.0.0.1:4010 http://127.0.0.1:4011 --report drift",
    ),
    "rules": ("kling-contract rules SC", "kling-contract rules SC-08"),
    "selftest": ("kling-contract selftest --only SC-08", "kling-contract selftest --serve http-callback"),
    "mcp": ("kling-contract mcp", '{"mcpServers": {"kling-contract": {"command": "kling-contract", "args": ["mcp"]}}}'),
}
_CODES = {
    "rules": "0 good; 2 no such rule.",
    "mcp": "0 the agent has left; 2 the extra `mcp` is not installed.",
    "matrix": "0 good; 1 a run on the page is broken; 2 usage, or a file that is no report.",
    "compare": "0 equal; 1 different; 2 usage or set-up; 3 stopped by a cap of money or time.",
    "selftest": "0 every rule is proven; 1 a mutant proves nothing; 2 usage or set-up.",
}
USUAL = (
    "0 good; 1 a rule is broken that was not known to be, or a known one no longer is; 2 usage or set-up; "
    "3 stopped by a cap of money or time."
)
GROUP = epilog(
    ("kling-contract server http://127.0.0.1:4010", "kling-contract client -- kling generate {image} --out {out}"),
    USUAL,
)


def screen_end(name: str) -> str:
    """Return what stands under the options of the subcommand *name*."""
    return epilog(EXAMPLES[name], _CODES.get(name, USUAL))
