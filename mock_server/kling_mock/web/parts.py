"""The parts of a fake, as the web sees them."""

from dataclasses import dataclass

from kling_mock.service.courier import Courier
from kling_mock.service.world import World
from kling_mock.web.api import Api
from kling_mock.web.control import Control
from kling_mock.web.files_api import FilesApi
from kling_mock.web.media import Media
from kling_mock.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Fake:
    """A fake, put together."""

    world: World
    courier: Courier
    api: Api
    control: Control
    media: Media
    files: FilesApi
    metrics: Metrics
