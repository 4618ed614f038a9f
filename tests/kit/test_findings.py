"""What every judge says of each small change of a correct history: which rules speak, how often, and in which words."""

import blocks
import findings
import pytest


@pytest.mark.parametrize("name", findings.names())
def test_every_finding_is_as_it_was_read(name: str) -> None:
    """
    As `findings.txt` has it. Where a judge changed on purpose, `scripts/findings` writes it anew: read the difference.
    """
    assert findings.block(name).splitlines() == blocks.kept(findings.FILE)[name].splitlines()


def test_no_judge_breaks() -> None:
    """
    Whatever is changed, each judge comes to its end.
    """
    assert set(blocks.kept(findings.FILE)) == set(findings.names())
    assert "broken" not in findings.FILE.read_text(encoding="utf-8")
