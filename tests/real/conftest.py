"""Lets the tests of this folder import `standins` by name: under --import-mode=importlib a test sees no siblings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
