"""An application's webhook handler under retries and duplicates: `pytest examples/test_webhook_retries.py`."""

from kling_client import Client


def test_a_video_is_filed_once(kling_mock, kling_clock, kling_receiver):
    """Two attempts fail, the third arrives, the same callback comes once more: one video on the shelf."""
    shelf = []

    @kling_receiver.handler
    def webhook(call):  # the application's own; it answers 204
        if call.json not in shelf:
            shelf.append(call.json)

    kling_receiver.answers(500, 500)
    kling_mock.scenario("callback-twice")
    Client(kling_mock.api_key, kling_mock.url).create(
        "https://image.test/1280x720.png", callback_url=kling_receiver.url
    )
    kling_clock.advance("10m")
    assert [call.status for call in kling_receiver.calls] == [500, 500, 204, 204]
    assert [video["status"] for video in shelf] == ["completed"]
