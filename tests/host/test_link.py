"""The host's link against the board's rules, over lines with faults."""

import random
from itertools import pairwise

import pytest

from relaxon_device.link import HostLink, RecordReader, decode_frame, encode_frame
from relaxon_isa.errors import LinkError
from relaxon_isa.link import MAX_PAYLOAD, Control, Header, Record
from support.board_model import BoardLink, FaultyLine


def talk(
    host: HostLink,
    board: BoardLink,
    up: bytes,
    down: bytes,
    *,
    seed: int = 0,
    lines: tuple[FaultyLine, FaultyLine] | None = None,
    limit: int = 200_000,
) -> tuple[bytes, bytes, float]:
    """Carry ``up`` to the board and ``down`` to the host; both drink at random speeds.

    Returns what arrived at the board, at the host, and the time it took (1 ms a step).
    """
    rng = random.Random(seed)
    to_board, to_host = lines or (FaultyLine(0), FaultyLine(0))
    got_up, got_down, now = bytearray(), bytearray(), 0.0
    wire_up, wire_down = bytearray(), bytearray()
    host.reset(now)
    host.send(up)
    left = bytearray(down)
    for _ in range(limit):
        now += 0.001
        wire_up += to_board.carry(host.transmit(now))
        size = rng.randrange(300)
        board.receive(bytes(wire_up[:size]))
        del wire_up[:size]
        size = rng.randrange(200) if rng.random() < 0.7 else 0
        got_up += board.rx[:size]
        del board.rx[:size]
        if board.rx_offset:  # a board says nothing before it is asked, nor amid repeated RESETs
            size = min(rng.randrange(200), board.tx_bytes - len(board.tx), len(left))
            board.tx += left[:size]
            del left[:size]
        wire_down += to_host.carry(board.transmit())
        size = rng.randrange(300)
        got_down += host.receive(bytes(wire_down[:size]), now)
        del wire_down[:size]
        done = len(got_up) >= len(up) and len(got_down) >= len(down)
        if done and not host.backlog:
            break
    return bytes(got_up), bytes(got_down), now


@pytest.mark.parametrize("ring", [256, 512, 2048, 16384])
def test_clean_line_repeats_nothing(ring: int) -> None:
    up, down = random.Random(ring).randbytes(150_000), random.Random(1).randbytes(150_000)
    host, board = HostLink(), BoardLink(ring, ring)
    assert talk(host, board, up, down)[:2] == (up, down)  # more than 2**16: offsets wrap
    assert (board.link_errors, board.link_drops) == (0, 0)
    assert (host.stats.went_back, host.stats.damaged, host.stats.gaps) == (0, 0, 0)
    assert host.stats.bytes_sent == len(up)


@pytest.mark.parametrize("seed", range(24))
def test_faulty_line_carries_every_byte_once(seed: int) -> None:
    rng = random.Random(seed)
    faults = [
        dict(
            flip=rng.choice([0, 1e-4, 1e-3]),
            lose=rng.choice([0, 1e-4, 1e-3]),
            chunk=rng.choice([0, 0.02, 0.1]),
        )
        for _ in range(2)
    ]
    ring = rng.choice([256, 512, 2048])
    print(f"seed {seed}: ring {ring}, faults up {faults[0]}, down {faults[1]}")
    up, down = rng.randbytes(rng.randrange(1, 70_000)), rng.randbytes(rng.randrange(70_000))
    lines = FaultyLine(seed, **faults[0]), FaultyLine(seed + 1000, **faults[1])
    host, board = HostLink(retries=20), BoardLink(ring, ring)
    got_up, got_down, now = talk(host, board, up, down, seed=seed, lines=lines)
    print(f"{now:.1f} s, {host.stats}")
    assert got_up == up
    assert got_down == down


def connect(host: HostLink, board: BoardLink, now: float = 0.0) -> None:
    host.reset(now)
    board.receive(host.transmit(now))
    host.receive(board.transmit(), now)
    assert host.ready


def silence(host: HostLink, now: float = 0.0) -> float:
    """Let time pass without an answer until the host gives up; when it did."""
    with pytest.raises(LinkError) as error:
        while now < 60:
            host.transmit(now)
            assert host.deadline > now
            now = host.deadline
    print(error.value)
    return now


def test_how_long_a_silent_board_was_asked_is_told() -> None:
    host = HostLink()
    host.reset(now := 5.0)
    with pytest.raises(LinkError, match=r"sent 9 times in 1\.8 s; not one byte came"):
        while True:
            host.transmit(now)
            now = host.deadline


def test_no_board_ends_within_two_seconds() -> None:
    host = HostLink()
    host.reset(0.0)
    assert silence(host) <= 2.0


def test_a_slow_line_has_its_timeout_to_answer_the_reset() -> None:
    host = HostLink(timeout=20.0)
    host.reset(0.0)
    assert silence(host) == pytest.approx(20.0)


@pytest.mark.parametrize("sending", [False, True])
def test_board_that_dies_ends_in_finite_time(sending: bool) -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    if sending:
        host.send(bytes(1000))
    assert 1 < silence(host) < 15


def test_noise_alone_ends_in_finite_time() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    rng, now, sent = random.Random(5), 0.0, 0
    with pytest.raises(LinkError, match="damaged"):
        while now < 60:
            now += 0.001
            host.receive(rng.randbytes(100), now)
            sent += len(host.transmit(now))
    assert sent < 1000 * now  # noise is not answered in kind


def test_board_that_never_takes_long_frames_ends_in_finite_time() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    host.send(bytes(1000))
    now = 0.0
    with pytest.raises(LinkError, match="took none"):
        while now < 60:
            now += 0.001
            for frame in host.transmit(now).split(b"\0"):
                if len(frame) < 30:
                    board.receive(frame + b"\0")
            host.receive(board.transmit(), now)


def test_long_computation_is_no_fault() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    host.send(bytes(1000))  # 256 of them fill the ring; nobody takes them for a minute
    now = 0.0
    while now < 60:
        now += 0.01
        board.receive(host.transmit(now))
        while frame := board.transmit():
            host.receive(frame, now)
    assert board.link_drops == 0
    board.rx.clear()
    for _ in range(100):
        now += 0.01
        board.receive(host.transmit(now))
        board.rx.clear()
        while frame := board.transmit():
            host.receive(frame, now)
    assert host.backlog == 0


def test_reset_takes_a_fresh_session_and_drops_the_old_one() -> None:
    host, board = HostLink(), BoardLink()
    for turn in range(40):
        connect(host, board)
        assert board.session == 2 * turn % 15 + 1
        board.tx += b"stale"
        stale = board.transmit()
        host.send(b"never executed")
        host.reset(0.0)
        assert host.backlog == 0
        board.receive(host.transmit(0.0))
        answer = board.transmit()
        assert host.receive(stale + answer + answer + stale, 0.0) == b""
        assert host.ready


def test_frames_that_overlap_add_only_what_is_new() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)

    def frame(seq: int, payload: bytes) -> bytes:
        return encode_frame(Header(board.session, Control(0), seq, 0, 256), payload)

    assert host.receive(frame(0, b"abcd"), 0.0) == b"abcd"
    assert host.receive(frame(2, b"cdef"), 0.0) == b"ef"
    assert host.receive(frame(0, b"abcd"), 0.0) == b""
    assert host.receive(frame(8, b"ijkl"), 0.0) == b""
    out = host.transmit(0.0).strip(b"\0")
    header = decode_frame(out)
    assert header is not None
    assert header[0].control == Control.RESEND
    assert header[0].ack == 6


def test_a_frame_of_long_ago_is_no_gap_and_is_acknowledged_again() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    frames = []
    for seq in range(0, 60 * MAX_PAYLOAD, MAX_PAYLOAD):
        header = Header(board.session, Control(0), seq, 0, 256)
        frames.append(encode_frame(header, bytes(MAX_PAYLOAD)))
        assert len(host.receive(frames[-1], 0.0)) == MAX_PAYLOAD
    host.transmit(0.0)
    for frame in frames:  # up to 12,000 bytes behind what is expected
        assert host.receive(frame, 0.0) == b""
        again = decode_frame(host.transmit(0.0).strip(b"\0"))
        assert again is not None and again[0].ack == len(frames) * MAX_PAYLOAD
        assert again[0].control == Control(0)
    assert host.stats.gaps == 0


def test_silence_is_waited_for_longer_each_time_up_to_four_timeouts() -> None:
    host, board = HostLink(timeout=1.0), BoardLink()
    connect(host, board)
    host.send(b"x")
    host.transmit(0.0)
    asked = [0.0]
    for _ in range(5):
        asked.append(host.deadline)
        assert host.transmit(asked[-1])
    assert [b - a for a, b in pairwise(asked)] == [1, 2, 4, 4, 4]


def test_noise_is_asked_about_once_and_then_now_and_again() -> None:
    host, board = HostLink(timeout=0.8), BoardLink()
    connect(host, board)

    def asks(data: bytes, now: float) -> bool:
        host.receive(data, now)
        frames = [decode_frame(frame) for frame in host.transmit(now).split(b"\0") if frame]
        return any(frame and frame[0].control & Control.RESEND for frame in frames)

    ahead = encode_frame(Header(board.session, Control(0), 4, 0, 256), b"abcd")
    assert asks(b"noise\0", 0.0)
    assert not asks(b"noise\0noise\0", 0.05)
    assert not asks(ahead, 0.06)  # it was asked about before
    assert asks(b"noise\0", 0.15)  # an eighth of the timeout later
    assert asks(ahead, 0.16)  # what was asked for was lost again
    assert host.stats.damaged == 4 and host.stats.gaps == 2


def test_a_running_board_is_no_board_that_was_reset() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    status = Control.RUNNING | Control.WAITING
    assert host.receive(encode_frame(Header(board.session, status, 0, 0, 9), b"ab"), 0.0) == b"ab"
    assert host.status == status


def test_what_is_sent_again_is_counted() -> None:
    host, board = HostLink(), BoardLink(512, 512)
    connect(host, board)
    host.send(bytes(450))
    board.receive(host.transmit(0.0).split(b"\0", 1)[1])  # the first of three frames is lost
    while out := board.transmit():
        host.receive(out, 0.0)
    board.receive(host.transmit(0.0))
    assert len(board.rx) == 450
    assert host.stats.went_back == 1
    assert (host.stats.bytes_sent, host.stats.bytes_repeated) == (900, 450)


def test_no_frame_is_made_for_a_sliver_of_room() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    host.send(bytes(1000))
    while out := host.transmit(0.0):
        board.receive(out)
        host.receive(board.transmit(), 0.0)
    assert len(board.rx) == 200  # 56 bytes are free: not worth a frame
    del board.rx[:80]
    board.answer = Control(0)
    host.receive(board.transmit(), 0.0)
    assert len(host.transmit(0.0)) > 128


def test_echo_is_told_from_a_board() -> None:
    host = HostLink()
    host.reset(0.0)
    with pytest.raises(LinkError, match="loopback"):
        host.receive(host.transmit(0.0), 0.0)


def test_small_room_and_more_hold_frames_back() -> None:
    host, board = HostLink(), BoardLink(512, 512)
    connect(host, board)
    host.send(b"x" * 10)
    assert host.transmit(0.0, more=True)  # nothing is on its way: go
    host.send(b"x" * 10)
    assert not host.transmit(0.0, more=True)
    host.send(b"x" * MAX_PAYLOAD)
    full = decode_frame(host.transmit(0.0, more=True).strip(b"\0"))
    assert full is not None
    assert len(full[1]) == MAX_PAYLOAD
    assert host.transmit(0.0)


def test_damaged_frames_are_refused() -> None:
    good = encode_frame(Header(3, Control.RUNNING, 1, 2, 3), b"payload")[:-1]
    assert decode_frame(good) == (Header(3, Control.RUNNING, 1, 2, 3), b"payload")
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert decode_frame(bytes(bad)) is None
    assert decode_frame(b"") is None
    long = encode_frame(Header(3, Control(0), 1, 2, 3), bytes(MAX_PAYLOAD + 1))[:-1]
    assert decode_frame(long) is None


def test_records_are_cut_wherever_the_stream_is() -> None:
    records = [(Record.DONE, b""), (Record.EMIT, b"a"), (Record.DATA, bytes(1000))]
    stream = b"".join(bytes([r]) + len(p).to_bytes(2, "little") + p for r, p in records)
    for size in (1, 2, 7, 5000):
        reader = RecordReader()
        got = [x for i in range(0, len(stream), size) for x in reader.feed(stream[i : i + size])]
        assert got == records
    with pytest.raises(LinkError, match="0x02"):
        RecordReader().feed(b"\x02")


@pytest.mark.parametrize(
    ("noise", "says"), [(b"", "not one byte came"), (b"\xff\x00\xfe", "another baud rate")]
)
def test_a_line_without_a_whole_frame_says_what_it_looks_like(noise, says):
    link, now = HostLink(), 0.0
    link.reset(now)
    with pytest.raises(LinkError, match=says):
        while now < 10:
            link.transmit(now)
            link.receive(noise, now)
            now += 0.1
