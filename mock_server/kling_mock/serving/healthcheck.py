"""`python -m kling_mock.serving.healthcheck`: exit code 0 when the fake on this machine is ready; for containers.

It reads the variables that `kling-mock serve` reads, so that one line fits every choice of port and TLS.
"""

import os
import ssl
import sys
import urllib.request

_PATIENCE = 2.0


def main() -> int:
    """Ask `/__mock/ready` over the loopback; 0 or 1."""
    port = os.environ.get("KLING_MOCK_PORT", "4010")
    on = {"1", "true", "t", "yes", "y", "on"}
    secure = any(os.environ.get(f"KLING_MOCK_{name}", "").lower() in on for name in ("TLS", "IMPERSONATE"))
    # Nothing secret is sent, so the certificate does not matter.
    unchecked = ssl._create_unverified_context() if secure else None  # noqa: S323
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if unchecked is not None:
        handlers.append(urllib.request.HTTPSHandler(context=unchecked))
    url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/__mock/ready"
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=_PATIENCE) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
