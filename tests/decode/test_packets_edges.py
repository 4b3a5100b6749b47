"""Packets and rows at their edges: what is kept from state to state, and what an error says."""

from __future__ import annotations

from typing import Any

import pytest

from trigger_realtime_sync import RunError, Task
from trigger_realtime_sync._decode.columns import parse_error, public_status
from trigger_realtime_sync._decode.packets import Packet, PacketValue, media_type
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync.errors import PayloadError

ROW = {
    "friendlyId": "run_1",
    "status": "EXECUTING",
    "taskIdentifier": "my-task",
    "payload": '{"a": 1}',
    "payloadType": "application/json",
    "output": "[1]",
    "outputType": "application/json",
    "metadata": '{"m": 1}',
    "metadataType": "application/json",
}


def value_of(data: str | None, content_type: str = "application/json", **more: Any) -> PacketValue:
    return PacketValue("run_1", "output", data, content_type, **more)


@pytest.mark.parametrize("field", ["payload", "output", "metadata"])
def test_each_packet_stays_decoded_until_it_changes(field):
    """From state to state it is the same object, until its text or its type is another."""
    decoder = RowDecoder()
    first = decoder.decode(ROW)
    kept = getattr(first, field)
    same = decoder.decode({**ROW, "status": "CANCELED"}, first)
    assert getattr(same, field) is kept
    for change in ({field: "[2]"}, {f"{field}Type": "text/plain"}):
        changed = decoder.decode({**ROW, **change}, first)
        assert getattr(changed, field) != kept


def test_a_packet_without_a_type_is_json():
    """Of old servers, and where the type's column was skipped."""
    row = {key: value for key, value in ROW.items() if not key.endswith("Type")}
    run = RowDecoder().decode(row)
    assert (run.payload, run.output, run.metadata) == ({"a": 1}, [1], {"m": 1})


def test_metadata_has_no_type():
    """A task types payload and output alone."""
    task = Task("my-task", payload=dict[str, int], output=list[str])
    run = RowDecoder([task]).decode(ROW)
    assert run.payload == {"a": 1}
    assert run.metadata == {"m": 1}
    with pytest.raises(PayloadError):
        _ = run.output


def test_hashes_tell_packets_apart():
    """By text and content type: a set of many values is no list in disguise."""
    hashes = {hash(value_of(str(n), kind)) for n in range(10) for kind in ("text/plain", "a/b")}
    assert len(hashes) == 20


def test_a_failure_shows_what_came_from_the_store():
    """The packet that was fetched, not the path that led to it."""
    stored = Packet("{", "application/json; charset=utf-8")
    value = value_of("path", "application/store", fetch=lambda *_: stored)
    with pytest.raises(PayloadError) as caught:
        value.read()
    error = caught.value
    assert (error.run_id, error.field) == ("run_1", "output")
    assert (error.raw, error.content_type) == stored


def test_a_stored_packet_that_is_stored_again_is_refused():
    """One fetch, not a chain of them."""
    again = Packet("elsewhere", "application/store")
    value = value_of("path", "application/store", fetch=lambda *_: again)
    with pytest.raises(PayloadError, match=r"must be fetched"):
        value.read()


def test_an_empty_path_is_no_value():
    """Nothing is fetched for it."""
    assert value_of("", "application/store").read() is None
    assert value_of(None, "application/store").read() is None


def test_media_types_are_compared_in_lower_case_without_parameters():
    """As HTTP has them."""
    assert media_type("Application/JSON; charset=utf-8") == "application/json"
    assert media_type(" text/plain ;a=b;c=d") == "text/plain"


@pytest.mark.parametrize(
    ("column", "error"),
    [
        (None, None),
        ("broke", RunError(message="broke")),
        (5, RunError(message="5")),
        ({"type": "INTERNAL_ERROR", "code": "X"}, RunError("trigger.dev internal error (X)")),
        ({"type": "STRING_ERROR", "raw": "s", "message": "m"}, RunError(message="s")),
        ({"type": "CUSTOM_ERROR", "raw": 5, "message": "m"}, RunError(message="5")),
        ({"type": "BUILT_IN_ERROR", "raw": "s", "message": "m"}, RunError(message="m")),
        ({"name": 5, "stackTrace": 5}, RunError(message="")),
        ({"name": "E", "message": "m", "stackTrace": "s"}, RunError("m", "E", "s")),
    ],
)
def test_every_shape_of_an_error(column, error):
    """Each kind keeps its text where the server puts it; what is no text is none."""
    assert parse_error(column) == error


def test_an_unknown_status_keeps_its_text():
    """An empty one as well."""
    assert str(public_status("BRAND_NEW").value) == "BRAND_NEW"
    assert public_status("PAUSED").value == "WAITING"
