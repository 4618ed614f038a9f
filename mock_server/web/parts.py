"""The parts of a fake, as the web sees them."""

from dataclasses import dataclass

from mock_server.courier import Courier
from mock_server.web.api import Api
from mock_server.web.control import Control
from mock_server.web.files_api import FilesApi
from mock_server.web.media import Media
from mock_server.world import World


@dataclass(frozen=True, slots=True)
class Fake:
    """A fake, put together."""

    world: World
    courier: Courier
    api: Api
    control: Control
    media: Media
    files: FilesApi
