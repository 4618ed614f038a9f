"""unittest: a fake for the class, without pytest's fixtures."""

import unittest

import requests

from kling_mock.serving.process import Running


class VideoTest(unittest.TestCase):
    """Shares one fake, which ends with the class."""

    @classmethod
    def setUpClass(cls) -> None:
        """Start it on a free port."""
        cls.fake = cls.enterClassContext(Running(["--clock", "manual"]))

    def test_a_key_is_needed(self) -> None:
        """A create without a key is refused."""
        answer = requests.post(f"{self.fake.url}/v1/videos/generations", json={}, timeout=30)
        self.assertEqual(answer.status_code, 401)  # noqa: PT009 - unittest
