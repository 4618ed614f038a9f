"""Videos that a real decoder opens, and that look like their first frame."""

import hashlib
import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from kling_mock.media import pictures, videos
from kling_mock.media.videos import Videos, VideoSpec, render, size_of


@dataclass(frozen=True)
class Seen:
    """What PyAV's own decoder says of a file."""

    codec: str
    pixels: str
    size: tuple[int, int]
    container_seconds: Fraction
    stream_seconds: Fraction
    images: list[Image.Image]
    tracks: int


def decoded(data: bytes) -> Seen:
    """*data* read to the last frame."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Seen(
            stream.codec_context.name,
            str(stream.codec_context.pix_fmt),
            (stream.width, stream.height),
            Fraction(container.duration, av.time_base),
            stream.duration * stream.time_base,
            [frame.to_image() for frame in frames],
            len(container.streams),
        )


def boxes(data: bytes) -> list[bytes]:
    """Names of an MP4's top-level boxes, in order; fails where they do not fill the file exactly."""
    names, place = [], 0
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        assert length >= 8
        names.append(name)
        place += length
    assert place == len(data)
    return names


def apart(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, 0..255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def file_of(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """File of *picture*."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def test_a_standard_video_is_what_was_asked_for():
    """1280x720, 5 s at 720p: H.264, yuv420p, exactly 5.0 s and every frame, the index first, and of modest size."""
    first = pictures.paint(1280, 720, 11)

    data = render(VideoSpec(5, 720, file_of(first, "JPEG", quality=90), 1280, 720, 1))

    seen = decoded(data)
    assert (seen.codec, seen.pixels, seen.size, seen.tracks) == ("h264", "yuv420p", (1280, 720), 1)
    assert (seen.container_seconds, seen.stream_seconds) == (5, 5)
    assert len(seen.images) == 5 * videos.FRAMES_PER_SECOND
    assert len(data) < 3_000_000
    names = boxes(data)
    assert names[0] == b"ftyp"
    assert names.index(b"moov") < names.index(b"mdat")
    assert apart(seen.images[0], first) < 3
    assert apart(seen.images[-1], first) > 4


def test_a_long_video_repeats_the_cameras_way():
    """Each cycle begins with a key frame and the whole first frame; halfway through it the camera is closest."""
    data = render(VideoSpec(7, 180, None, 320, 180, 3))

    images = decoded(data).images
    cycle = videos.CYCLE * videos.FRAMES_PER_SECOND
    assert all(apart(images[number], images[number % cycle]) == 0 for number in range(len(images)))
    assert apart(images[cycle // 2], images[0]) > apart(images[2], images[0]) > 0
    with av.open(io.BytesIO(data)) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.is_keyframe and packet.size]
    assert keys == list(range(0, len(images), cycle))


def test_tasks_with_the_same_video_share_the_work_and_not_the_bytes(monkeypatch):
    """One rendering for both; the files differ in a box that players skip, and show the same."""
    kept, rendered = Videos(1_000_000), []
    real = videos._essence
    monkeypatch.setattr(videos, "_essence", lambda spec: rendered.append(spec) or real(spec))

    one, other = (kept.video("same", VideoSpec(1, 90, None, 160, 90, 1, tag)) for tag in (1, 2))

    assert len(rendered) == 1
    assert one != other
    assert boxes(one)[-1] == b"free"
    assert [image.tobytes() for image in decoded(one).images] == [image.tobytes() for image in decoded(other).images]


@pytest.mark.parametrize(
    ("width", "height", "short_side", "size"),
    [
        (1280, 720, 720, (1280, 720)),
        (1280, 720, 1080, (1920, 1080)),
        (800, 1422, 1080, (1080, 1920)),
        (300, 300, 720, (720, 720)),
        (750, 300, 720, (1800, 720)),
        (300, 750, 1080, (1080, 2700)),
    ],
)
def test_sizes(width, height, short_side, size):
    """The quality names the shorter side; the frame gives the rest."""
    assert size_of(width, height, short_side) == size


@given(
    width=st.integers(1, 20_000),
    height=st.integers(1, 20_000),
    short_side=st.integers(1, 1200).map(lambda half: 2 * half),
)
def test_size_keeps_the_ratio_to_the_nearest_even_pixel(width, height, short_side):
    """For any frame: shorter side exact, both even, the longer one at most a pixel from the true ratio."""
    size = size_of(width, height, short_side)

    assert min(size) == short_side
    assert (size[0] % 2, size[1] % 2) == (0, 0)
    assert (size[0] >= size[1]) == (width >= height) or size[0] == size[1]
    true = Fraction(short_side * max(width, height), min(width, height))
    assert abs(max(size) - true) <= 1


@pytest.mark.parametrize("bad", [(0, 5, 720), (5, 0, 720), (5, 5, 0), (5, 5, 721), (5, 5, -2)])
def test_a_size_no_video_can_have_is_refused(bad):
    """Clear words instead of an encoder's."""
    with pytest.raises(ValueError, match="pixels"):
        size_of(*bad)


def test_a_length_no_video_can_have_is_refused():
    """A video lasts at least a second."""
    with pytest.raises(ValueError, match="0"):
        render(VideoSpec(0, 90, None, 160, 90, 1))


@pytest.mark.parametrize("seconds", [1, 3, 7, 15, 20])
def test_length_is_exact_for_every_duration(seconds):
    """Container and track say the asked seconds exactly, and no frame is missing."""
    seen = decoded(render(VideoSpec(seconds, 90, None, 160, 90, seconds)))

    assert (seen.container_seconds, seen.stream_seconds) == (seconds, seconds)
    assert len(seen.images) == seconds * videos.FRAMES_PER_SECOND


@pytest.mark.parametrize(("width", "height"), [(160, 90), (90, 160), (100, 100), (250, 100), (100, 250), (133, 100)])
def test_any_shape_begins_with_its_frame(width, height):
    """Wide, tall, square or odd: the first image is the whole frame, unstretched, and the last one is not."""
    first = pictures.paint(width * 3, height * 3, 4)

    seen = decoded(render(VideoSpec(3, 90, file_of(first), width * 3, height * 3, 2)))

    assert seen.size == size_of(width, height, 90)
    whole = first.resize(seen.size, Image.Resampling.LANCZOS)
    assert apart(seen.images[0], whole) < 5
    assert apart(seen.images[-1], whole) > 1.5 * apart(seen.images[0], whole)


def test_the_camera_never_stands_still():
    """Between any second and the next the picture moves on, on a frame with detail all over."""
    noise = Image.effect_noise((80, 45), 120).resize((320, 180), Image.Resampling.BICUBIC).convert("RGB")

    images = decoded(render(VideoSpec(4, 180, file_of(noise), 320, 180, 3))).images

    fps = videos.FRAMES_PER_SECOND
    for second in range(3):
        assert apart(images[second * fps], images[(second + 1) * fps]) > 4


def test_a_vertical_hd_video_has_its_size():
    """800x1422 at 1080p is 1080 wide and 1920 high."""
    data = render(VideoSpec(1, 1080, file_of(pictures.paint(800, 1422, 1), "JPEG"), 800, 1422, 1))

    seen = decoded(data)
    assert seen.size == (1080, 1920)
    assert seen.container_seconds == 1


def test_a_turned_phone_picture_stands_upright():
    """A frame that lies on its side by EXIF is shown as a viewer shows it."""
    upright = pictures.paint(180, 320, 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = file_of(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)

    seen = decoded(render(VideoSpec(1, 180, lying, 180, 320, 1)))

    assert seen.size == (180, 320)
    assert apart(seen.images[0], upright) < 5


def test_without_a_frame_one_is_drawn():
    """The seed draws it, and another seed draws another."""
    one, other = (decoded(render(VideoSpec(1, 90, None, 160, 90, seed))).images[0] for seed in (1, 2))

    assert apart(one, pictures.paint(160, 90, 1)) < 5
    assert apart(one, other) > 5


def test_colours_survive():
    """Red, green, blue, black and white come back as they went in: matrix and range are declared as they were used."""
    first = Image.new("RGB", (320, 64))
    colours = [(220, 30, 30), (30, 200, 30), (30, 30, 220), (0, 0, 0), (255, 255, 255)]
    for number, colour in enumerate(colours):
        first.paste(colour, (number * 64, 0, number * 64 + 64, 64))

    seen = decoded(render(VideoSpec(1, 64, file_of(first), 320, 64, 1))).images[0]

    for number, colour in enumerate(colours):
        found = seen.getpixel((number * 64 + 32, 32))
        assert all(abs(was - is_now) < 10 for was, is_now in zip(colour, found, strict=True)), (colour, found)


def test_the_same_spec_gives_the_same_bytes_in_every_process():
    """Two other processes, with other hash seeds, render what this one renders."""
    code = (
        "import hashlib, sys; from kling_mock.media import images, videos;"
        "frame = images.draw(images.parse_drawing('/320x180.png', '')).data;"
        "data = videos.render(videos.VideoSpec(2, 90, frame, 320, 180, 5));"
        "print(hashlib.sha256(frame).hexdigest(), hashlib.sha256(data).hexdigest())"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    said = [run.communicate(timeout=60)[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]

    from kling_mock.media.images import draw, parse_drawing

    drawing = parse_drawing("/320x180.png", "")
    assert drawing is not None
    frame = draw(drawing).data
    here = [hashlib.sha256(each).hexdigest() for each in (frame, render(VideoSpec(2, 90, frame, 320, 180, 5)))]
    assert said == [here, here]


def test_the_encoder_uses_one_thread_on_every_machine():
    """More threads would cut the picture otherwise, so a machine with more cores would make other bytes."""
    assert b" threads=1 " in render(VideoSpec(1, 90, None, 160, 90, 1))


def test_renderings_side_by_side_do_not_mix():
    """Two threads that render at once get what each would get alone."""
    specs = [VideoSpec(1, 90, None, 160, 90, seed) for seed in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(render, specs))

    assert together == [render(spec) for spec in specs]


def test_the_seed_moves_the_camera():
    """Two tasks on one frame do not get one file."""
    frame = file_of(pictures.paint(160, 90, 1))

    assert render(VideoSpec(1, 90, frame, 160, 90, 1)) != render(VideoSpec(1, 90, frame, 160, 90, 2))


def test_a_file_carries_no_time_and_no_name_of_its_maker():
    """Creation time is zero in every header, and the muxer does not sign."""
    data = render(VideoSpec(1, 90, None, 160, 90, 1))

    for header in (b"mvhd", b"tkhd", b"mdhd"):
        place = data.index(header)
        created, modified = struct.unpack(">II", data[place + 8 : place + 16])
        assert (created, modified) == (0, 0)
    assert b"Lavf" not in data


def test_videos_are_kept_within_their_bound(monkeypatch):
    """A second download is no second rendering; what does not fit the bound is rendered again."""
    rendered = []
    monkeypatch.setattr(videos, "_essence", lambda spec: rendered.append(spec.seed) or bytes(100))
    kept = Videos(250)
    specs = {name: VideoSpec(1, 90, None, 160, 90, number) for number, name in enumerate("abc")}

    for name in "aabbcca":
        assert kept.video(name, specs[name]).startswith(bytes(100))

    assert rendered == [0, 1, 2, 0]
