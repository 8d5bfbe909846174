"""Whatever comes off a line or out of a file, parsers raise no error but our own."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relaxon.machines import find_machine
from relaxon_device.link import HostLink, RecordReader, decode_frame, encode_frame
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import RelaxonError
from relaxon_isa.identity import decode_info, encode_info
from relaxon_isa.link import MAX_PAYLOAD, SESSION_MASK, Control, Header
from relaxon_isa.presets import preset

settings.register_profile(
    "relaxon",
    max_examples=60,
    deadline=None,  # computers are busy
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("relaxon")

WORDS = st.integers(0, 0xFFFF)
PAYLOADS = st.binary(max_size=MAX_PAYLOAD)
CONTROLS = st.integers(0, 15).map(lambda bits: Control(bits << 4))
HEADERS = st.builds(Header, st.integers(0, SESSION_MASK), CONTROLS, WORDS, WORDS, WORDS)
FRAMES = st.builds(encode_frame, HEADERS, PAYLOADS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
IDENTITY = json.loads(encode_info(preset("default"), build="x", clock_hz=1, baud=1).rstrip(b"\0"))


def only_ours(parse, *arguments) -> None:
    with suppress(RelaxonError):
        parse(*arguments)


@st.composite
def damaged(draw) -> bytes:
    """A frame with bytes changed, lost or inserted."""
    data = bytearray(draw(FRAMES))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


@given(HEADERS, PAYLOADS)
def test_frames_come_back(header, payload):
    encoded = encode_frame(header, payload)
    assert encoded.count(0) == 1 and encoded[-1] == 0
    assert decode_frame(encoded[:-1]) == (header, payload)


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\0", b"\1")))
@example(b"")
def test_any_bytes_are_a_frame_or_none(data):
    frame = decode_frame(data)
    assert frame is None or encode_frame(*frame)[:-1] == data


@given(st.booleans(), st.lists(st.binary(max_size=300) | FRAMES | damaged(), max_size=12))
def test_a_link_takes_any_bytes(ready, deliveries):
    link, reader = HostLink(session=3), RecordReader()
    link.reset(0.0)
    link.transmit(0.0)
    if ready:
        link.receive(encode_frame(Header(4, Control.RESET, 0, 0, 2046)), 0.0)
        assert link.ready
    link.send(bytes(700))
    for i, data in enumerate(deliveries):

        def step(now: float = i / 100, data: bytes = data) -> None:
            reader.feed(link.receive(data, now))
            link.transmit(now)

        only_ours(step)
    assert link.stats.line_bytes == sum(map(len, deliveries)) + 11 * ready


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_a_record_reader_takes_any_bytes(parts):
    reader = RecordReader()
    for part in parts:
        only_ours(reader.feed, part)


@given(st.binary(max_size=1024) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 1024)
@example(b"1" * 1024)
def test_an_identity_of_any_bytes(data):
    only_ours(decode_info, data)


@given(st.sampled_from([*IDENTITY, *IDENTITY["config"]]), VALUES, st.booleans())
def test_an_identity_with_another_value(name, value, absent):
    told = json.loads(json.dumps(IDENTITY))
    where = told if name in told else told["config"]
    if absent:
        del where[name]
    else:
        where[name] = value
    only_ours(decode_info, json.dumps(told).encode())
    only_ours(ArrayConfig.from_json, json.dumps(told.get("config")))


@given(st.text(max_size=200) | st.dictionaries(st.sampled_from(["p", "base", "x"]), VALUES).map(
    lambda fields: "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
))  # fmt: skip
def test_a_machine_of_any_text(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    only_ours(find_machine, str(path))


def test_the_judge_judges():
    with pytest.raises(ZeroDivisionError):
        only_ours(lambda: 1 / 0)
