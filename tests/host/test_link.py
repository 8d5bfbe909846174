"""The host's link against the board's rules, over lines with faults."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from cobs import cobs

from relaxon_device import link
from relaxon_device.link import (
    FRAME_BYTES,
    MAX_NAMES,
    HostLink,
    LinkStats,
    RecordReader,
    decode_frame,
    encode_frame,
    encode_runs,
)
from relaxon_isa.errors import LinkError
from relaxon_isa.link import (
    BLOCK_BYTES,
    HOST_HEADER_BYTES,
    MAX_PAYLOAD,
    BoardHeader,
    Control,
    HostHeader,
    Record,
    crc16,
)
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


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("ring", [256, 512, 2048, 16384])
def test_clean_line_repeats_nothing(ring: int, keeps: bool) -> None:
    up, down = random.Random(ring).randbytes(150_000), random.Random(1).randbytes(150_000)
    host, board = HostLink(), BoardLink(ring, ring, keeps)
    assert talk(host, board, up, down)[:2] == (up, down)  # more than 2**16: offsets wrap
    assert (board.link_errors, board.link_drops) == (0, 0)
    assert (host.stats.lost, host.stats.damaged, host.stats.gaps) == (0, 0, 0)
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
    host, board = HostLink(patience=60.0), BoardLink(ring, ring, keeps=seed % 2 == 0)
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


def test_a_silent_board_has_all_of_a_long_patience() -> None:
    """However often it was asked."""
    host, board = HostLink(patience=30.0), BoardLink()
    connect(host, board)
    host.send(bytes(1000))
    assert 30 < silence(host) < 35


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
        assert host.ready and host.stats.foreign == 2 * (turn + 1)


def host_frame(data: bytes) -> tuple[HostHeader, bytes]:
    """One frame of the host's, without its delimiter."""
    body = cobs.decode(data)
    return HostHeader.unpack(body), body[HOST_HEADER_BYTES:-2]


def host_frames(data: bytes) -> list[tuple[HostHeader, bytes]]:
    return [host_frame(each) for each in data.split(b"\0") if each]


def test_frames_that_overlap_add_only_what_is_new() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)

    def frame(seq: int, payload: bytes) -> bytes:
        return encode_frame(BoardHeader(board.session, Control(0), seq, 0, 0, 256), payload)

    assert host.receive(frame(0, b"abcd"), 0.0) == b"abcd"
    assert host.receive(frame(2, b"cdef"), 0.0) == b"ef"
    assert host.receive(frame(0, b"abcd"), 0.0) == b""
    assert host.receive(frame(8, b"ijkl"), 0.0) == b""
    out = host.transmit(0.0).strip(b"\0")
    header, _ = host_frame(out)
    assert header.control == Control.RESEND
    assert header.ack == 6


def test_a_frame_of_long_ago_is_no_gap_and_is_acknowledged_again() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    frames = []
    for seq in range(0, 60 * MAX_PAYLOAD, MAX_PAYLOAD):
        header = BoardHeader(board.session, Control(0), seq, 0, 0, 256)
        frames.append(encode_frame(header, bytes(MAX_PAYLOAD)))
        assert len(host.receive(frames[-1], 0.0)) == MAX_PAYLOAD
    host.transmit(0.0)
    for frame in frames:  # up to 11,520 bytes behind what is expected
        assert host.receive(frame, 0.0) == b""
        [(again, _)] = host_frames(host.transmit(0.0))
        assert again.ack == len(frames) * MAX_PAYLOAD and again.control == Control(0)
    assert host.stats.gaps == 0


def test_silence_is_waited_for_longer_each_time_up_to_two_seconds() -> None:
    host, board = HostLink(timeout=0.5), BoardLink()
    connect(host, board)
    host.send(b"x")
    host.transmit(0.0)
    asked = [0.0]
    for _ in range(5):
        asked.append(host.deadline)
        assert host.transmit(asked[-1])
    assert [b - a for a, b in pairwise(asked)] == [0.5, 1, 2, 2, 2]


def test_how_long_answers_take_is_measured() -> None:
    host, board = HostLink(timeout=0.5), BoardLink()
    connect(host, board)
    now = 0.0
    for _ in range(30):
        host.send(b"x")
        board.receive(host.transmit(now))
        now += 0.1
        host.receive(board.transmit(), now)
        board.rx.clear()
    host.send(b"x")
    host.transmit(now)
    assert now + 0.1 < host.deadline < now + 0.2


def test_noise_is_asked_about_once_and_then_now_and_again() -> None:
    host, board = HostLink(timeout=0.8), BoardLink()
    connect(host, board)

    def asks(data: bytes, now: float) -> int:
        host.receive(data, now)
        frames = host_frames(host.transmit(now))
        return sum(header.name for header, _ in frames if header.control & Control.RESEND)

    def ahead(name: int) -> bytes:
        return encode_frame(BoardHeader(board.session, Control(0), 4, 0, name, 256), b"abcd")

    assert asks(b"noise\0", 0.0) == 1
    assert not asks(b"noise\0noise\0", 0.05)
    assert not asks(ahead(0), 0.06)  # sent before the board heard the question
    assert asks(ahead(1), 0.07) == 2  # what was asked for was lost again
    assert not asks(b"noise\0", 0.08)
    assert asks(b"noise\0", 0.2) == 3  # later than an answer takes
    assert host.stats.damaged == 5 and host.stats.gaps == 2


def test_a_running_board_is_no_board_that_was_reset() -> None:
    host, board = HostLink(), BoardLink()
    connect(host, board)
    status = Control.RUNNING | Control.WAITING
    frame = encode_frame(BoardHeader(board.session, status, 0, 0, 0, 9), b"ab")
    assert host.receive(frame, 0.0) == b"ab"
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
    assert host.stats.lost == 2  # the last is shorter than a block: it was not kept
    assert (host.stats.bytes_sent, host.stats.bytes_repeated) == (708, 258)


def test_the_rate_of_errors_is_that_of_the_worse_way() -> None:
    stats = LinkStats(lost=3, bytes_sent=1000, damaged=1, line_bytes=500)
    assert stats.rate == 3 / 1000
    assert replace(stats, damaged=2).rate == 2 / 500
    assert LinkStats().rate == 0 and LinkStats(damaged=1).rate == 1


def test_the_longest_frame_is_as_long_as_is_said() -> None:
    longest = encode_frame(HostHeader(1, Control(0), 0, 0, 0), bytes(MAX_PAYLOAD))
    assert len(longest) == FRAME_BYTES


def test_no_frame_is_made_for_a_sliver_of_room() -> None:
    host, board = HostLink(), BoardLink(2048, 2048)
    connect(host, board)
    host.send(bytes(5000))
    for frame in everything(host):
        board.receive(encode_frame(*frame))
    assert len(board.rx) == 10 * MAX_PAYLOAD  # 128 bytes are free: not worth a frame
    host.receive(board.transmit(), 0.0)
    assert not host.transmit(0.0)
    del board.rx[:64]
    board.answer = Control(0)
    host.receive(board.transmit(), 0.0)
    assert [len(payload) for _, payload in everything(host)] == [MAX_PAYLOAD]


def test_names_wrap_and_their_number_is_bounded() -> None:
    host, board = HostLink(), BoardLink(16384, 16384)
    connect(host, board)
    for _ in range(20):
        for _ in range(100):
            host.send(b"x")
            if out := host.transmit(0.0):
                board.receive(out)
        assert len(host._sent_at) == MAX_NAMES
        while out := board.transmit():
            host.receive(out, 0.0)
        for frame in everything(host):
            board.receive(encode_frame(*frame))
        host.receive(board.transmit(), 0.0)
        assert host.backlog == 0
        board.rx.clear()
    assert board.rx_offset == 2000 and host.stats.lost == 0


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
    # Frames end where blocks end, so that the board can keep them.
    assert [len(payload) for _, payload in host_frames(host.transmit(0.0, more=True))] == [182]
    assert [len(payload) for _, payload in host_frames(host.transmit(0.0))] == [20]


@pytest.mark.parametrize("kept", [None, 0x80000001])
def test_damaged_frames_are_refused(kept: int | None) -> None:
    header = BoardHeader(3, Control.RUNNING, 1, 2, 3, 4, kept)
    good = encode_frame(header, b"payload")[:-1]
    assert decode_frame(good) == (header, b"payload")
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert decode_frame(bytes(bad)) is None
    assert decode_frame(b"") is None
    long = encode_frame(header, bytes(MAX_PAYLOAD + 1))[:-1]
    assert decode_frame(long) is None
    short = replace(header, kept=None).pack()[:-1]
    assert decode_frame(cobs.encode(short + crc16(short).to_bytes(2, "big"))) is None


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


def everything(host: HostLink) -> list[tuple[HostHeader, bytes]]:
    """All that a host sends before it hears anything."""
    frames = []
    while out := host.transmit(0.0):
        frames += host_frames(out)
    return frames


@pytest.mark.parametrize(("keeps", "again"), [(True, [1, 6]), (False, list(range(1, 10)))])
def test_only_what_was_lost_is_sent_again(keeps: bool, again: list[int]) -> None:
    """Two of ten frames; and on a board that keeps nothing all from the first of them on."""
    host, board = HostLink(), BoardLink(2048, 2048, keeps)
    connect(host, board)
    host.send(bytes(10 * MAX_PAYLOAD))
    frames = everything(host)
    assert [len(payload) for _, payload in frames] == 10 * [MAX_PAYLOAD]
    for number, frame in enumerate(frames):
        if number not in (1, 6):
            board.receive(encode_frame(*frame))
    host.receive(board.transmit(), 0.0)
    sent = everything(host)  # and nothing twice
    assert [header.seq // MAX_PAYLOAD for header, _ in sent] == again
    board.answer = Control(0)
    host.receive(board.transmit(), 0.0)
    assert not everything(host)  # a repetition is on its way: an older answer asks for no other
    for frame in sent:
        board.receive(encode_frame(*frame))
    host.receive(board.transmit(), 0.0)
    assert host.backlog == 0 and board.rx == bytes(10 * MAX_PAYLOAD)
    assert host.stats.lost == (2 if keeps else 1)


def test_a_slow_line_is_not_taken_for_a_dead_one() -> None:
    """1.2 kB/s where the host expects a fast one: one damaged byte is one repetition."""
    host, board, line = HostLink(), BoardLink(2048, 2048, keeps=False), bytearray()
    connect(host, board)
    up, now, carried, damaged = random.Random(4).randbytes(20_000), 0.0, 0, False
    host.send(up)
    got = bytearray()
    while host.backlog:
        now += 0.01
        line += host.transmit(now)
        part = bytearray(line[:12])
        del line[:12]
        carried += len(part)
        if carried > 5000 and not damaged:
            part[0] ^= 1
            damaged = True
        board.receive(bytes(part))
        got += board.rx
        board.rx.clear()
        host.receive(board.transmit(), now)
        assert now < 60
    assert bytes(got) == up
    assert host.stats.lost <= 2 and host.stats.bytes_repeated < 3000
    assert carried < 1.3 * len(up)


def test_one_frame_lost_is_remembered_for_17_kb() -> None:
    """That long nothing is sent that the board could not keep behind a gap."""
    damage = link._Damage()
    assert not damage.bad
    damage.settled(MAX_PAYLOAD, True)
    for sent in range(MAX_PAYLOAD, 2 << 14, MAX_PAYLOAD):
        assert damage.bad == (sent < 17_664)  # it counts half by then, among 10 KB
        damage.settled(MAX_PAYLOAD, False)


def test_frames_shorten_where_many_are_damaged_and_grow_again() -> None:
    rng = random.Random(2)
    host, board = HostLink(), BoardLink(2048, 2048)
    connect(host, board)
    now, sizes = 0.0, {}
    for phase, rate in enumerate((0.0, 3e-3, 0.0)):
        line, sizes[phase] = FaultyLine(phase, flip=rate), []
        for _ in range(600):
            now += 0.001
            host.send(rng.randbytes(400) if host.backlog < 4000 else b"")
            out = host.transmit(now)
            sizes[phase] += [len(payload) for _, payload in host_frames(out) if payload]
            board.receive(line.carry(out))
            board.rx.clear()
            host.receive(board.transmit(), now)
    longest = [max(sizes[phase][-20:]) for phase in range(3)]
    assert longest == [MAX_PAYLOAD, BLOCK_BYTES, MAX_PAYLOAD]


@pytest.mark.parametrize(
    ("data", "runs"),
    [
        ("", ""),
        ("00 00 00", "03"),
        ("01 02 00", "00 02 01 02 01"),
        ("01 00 00 02", "00 04 01 00 00 02"),
        ("01 00 00 00 02", "00 01 01 03 01 02"),
        ("00" * 300 + "07", "FF 00 2D 01 07"),
        ("05" * 300, "00 FF" + "05" * 255 + "00 2D" + "05" * 45),
    ],
)
def test_zero_runs_by_hand(data: str, runs: str) -> None:
    assert encode_runs(bytes.fromhex(data)) == bytes.fromhex(runs)
