"""What is mutated, group by group, and the tests that have to notice it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FAKE, KIT, CLIENT = "mock_server/kling_mock", "contract_tests/kling_contract", "clients/python/kling_client"


@dataclass(frozen=True)
class Group:
    """Modules, and the tests that have to notice a fault in them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, root: Path) -> Iterator[str]:
        """Yield the Python files of the modules, relative to *root*."""
        for module in self.modules:
            found = sorted((root / module).rglob("*.py")) if (root / module).is_dir() else [root / module]
            yield from (str(path.relative_to(root)) for path in found)


GROUPS = {
    "core": Group((f"{FAKE}/core",), ("tests/core", "tests/web/test_billing.py", "tests/web/test_query.py")),
    "store": Group(
        (f"{FAKE}/store/memory.py", f"{FAKE}/store/memory_account.py", f"{FAKE}/service/creating.py"),
        (
            "tests/web/test_create.py",
            "tests/web/test_query.py",
            "tests/web/test_billing.py",
            "tests/web/test_control.py",
            "tests/web/test_control_calls.py",
            "tests/web/test_idempotency.py",
            "tests/web/test_callbacks.py",
            "tests/web/test_races.py",
            "tests/web/test_accounts.py",
            "tests/web/test_edges.py",
            "tests/web/test_errors.py",
            "tests/web/test_images.py",
            "tests/web/test_determinism.py",
            "tests/store/test_agreement.py",
            "tests/store/test_forgetting.py",
            "tests/store/test_shared.py",
            "tests/store/test_store_limits.py",
            "tests/store/test_stores.py",
        ),
    ),
    "courier": Group(
        (
            f"{FAKE}/service/courier.py",
            f"{FAKE}/service/senders.py",
            f"{FAKE}/core/callbacks.py",
            f"{FAKE}/core/deliveries.py",
        ),
        (
            "tests/core/test_callbacks.py",
            "tests/core/test_deliveries.py",
            "tests/web/test_callbacks.py",
            "tests/web/test_courier.py",
            "tests/store/test_courier.py",
            "tests/store/test_shared.py",
        ),
    ),
    "rules": Group(
        (f"{KIT}/rules",),
        (
            "tests/kit/test_judges.py",
            "tests/kit/test_lab_judges.py",
            "tests/kit/test_lab_limits.py",
            "tests/kit/test_judge_limits.py",
            "tests/kit/test_findings.py",
            "tests/kit/test_notes.py",
            "tests/kit/test_unseen.py",
            "tests/kit/test_verdicts.py",
        ),
    ),
    "guard": Group(
        (f"{KIT}/driving/guard.py", f"{KIT}/driving/guarded.py", f"{KIT}/driving/planning.py"),
        ("tests/kit/test_guard.py", "tests/kit/test_real_service.py"),
    ),
    "masking": Group(("common/kling_common/masking.py",), ("tests/core/test_masking.py", "tests/kit/test_history.py")),
    "drivers": Group(
        (f"{KIT}/driving/drivers",),
        (
            "tests/kit/test_drivers.py",
            "tests/kit/test_drawn_probes.py",
            "tests/kit/test_driven.py",
            "tests/kit/test_callback_waits.py",
            "tests/kit/test_real_service.py",
        ),
    ),
    "client": Group((CLIENT,), ("tests/client",)),
}
