"""`SerialDevice` against `BoardModel`, over simulated lines, and over a pseudo-terminal."""

import os
import random
import threading
import time
from collections.abc import Generator, Iterator

import numpy as np
import pytest

from relaxon_device import SerialDevice
from relaxon_device.transport import SerialTransport
from relaxon_isa import row_bits
from relaxon_isa.errors import DeviceError, LinkError, ProgramError
from relaxon_isa.identity import fingerprint
from relaxon_isa.memory import INFO_BYTES, Register, Space, registers
from relaxon_isa.presets import PRESETS
from support.board_model import BoardModel, FaultyLine, Program, Rig
from support.evil import EvilLine

CONFIG = PRESETS["default"]


def echo(samples: int, size: int) -> Program:
    """Takes samples of a size, hands each over reversed."""

    def program(board: BoardModel) -> Generator[int | bytes, bytes, None]:
        for _ in range(samples):
            data = yield size
            yield data[::-1]

    return program


def device(
    programs: dict[int, Program] | None = None,
    preset: str = "default",
    lines: tuple[FaultyLine, FaultyLine] | None = None,
    **options: object,
) -> tuple[SerialDevice, BoardModel]:
    board = BoardModel(PRESETS[preset], programs)
    rig = Rig(board, *(lines or (None, None)))
    return SerialDevice(rig, clock=rig.clock, **options), board  # type: ignore[arg-type]


def switch_off_and_on(dev: SerialDevice, board: BoardModel) -> None:
    """The host notices while it is off."""
    board.deaf = True
    with pytest.raises(LinkError):
        dev.read(Space.STATE, 0, 1)
    board.deaf = False
    board.session = 0
    board.restart()
    board.reset()


def test_identity() -> None:
    dev, _ = device(expected=fingerprint(CONFIG))
    assert dev.config == CONFIG
    assert dev.identity.build == "model"
    text = dev.read(Space.INFO)
    assert text.shape == (INFO_BYTES,)
    assert bytes(text.astype(np.uint8)).startswith(b'{"magic":"relaxon"')


def test_wrong_fingerprint_says_both() -> None:
    with pytest.raises(DeviceError, match=fingerprint(CONFIG)) as error:
        device(expected="0123456789abcdef")
    assert "0123456789abcdef" in str(error.value)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("space", [Space.PROGRAM, Space.STATE, Space.DRIVE, Space.REGISTER])
def test_memories_keep_what_is_written(preset: str, space: Space) -> None:
    dev, _ = device(preset=preset)
    layout = dev.layouts[space]
    rng = random.Random(7)
    values = [rng.randint(layout.low, layout.high) for _ in range(layout.size)]
    values[:2] = layout.low + (space is Space.REGISTER), layout.high
    dev.write(space, 0, values)
    back = dev.read(space)
    assert back.dtype == layout.dtype
    assert back.tolist() == values
    start, count = 3, layout.size // 2
    dev.write(space, start, [1] * count)
    assert dev.read(space, start - 1, 3).tolist() == [values[2], 1, 1]
    assert dev.read(space, start + count, 1).tolist() == values[start + count :][:1]
    places = np.array([start, start - 1, 3])  # numpy's integers are places, too
    dev.write(space, places[0], [1])
    assert dev.read(space, *places[1:]).tolist() == [values[2], 1, 1]


def test_neuron_order() -> None:
    dev, board = device()
    dev.write(Space.STATE, CONFIG.p * 5 + 2, [-2])
    at = 2 * (CONFIG.p * 5 + 2)
    dev.read(Space.STATE, 0, 1)
    assert board.memory[Space.STATE][at : at + 2] == b"\xfe\xff"


def test_load_and_counters() -> None:
    dev, _ = device()
    dev.load([1, 1 << 79], at=4)
    dev.write(Space.REGISTER, Register.SWEEPS, np.array([0xFFFFFFFF], np.uint32))
    counters = dev.counters()
    assert list(counters) == list(registers(CONFIG))
    assert counters[Register.SWEEPS] == 0xFFFFFFFF
    assert dev.read(Space.PROGRAM, 4, 2).tolist() == [1, 1 << 79]
    with pytest.raises(ProgramError, match="512"):
        dev.load([0] * 2, at=511)


def test_rows_that_the_board_holds_are_not_sent_again() -> None:
    dev, board = device()
    rows = list(range(1, 101))
    row = (row_bits(CONFIG) + 7) // 8
    sent: list[int] = []

    def load(at: int = 0) -> int:
        """Bytes that it sends."""
        before = dev.link_stats.bytes_sent
        dev.load(rows, at)
        dev.read(Space.REGISTER, 0, 1)  # the same each time
        sent.append(dev.link_stats.bytes_sent - before)
        assert dev.read(Space.PROGRAM, at, len(rows)).tolist() == rows
        return sent[-1] - sent[1] if len(sent) > 1 else 0

    load()
    assert load() == 0 < sent[0] - len(rows) * row
    rows[7:9] = 500, 501
    rows[50] = 502
    assert 3 * row < load() < 3 * row + 40  # two ranges
    assert load() == 0
    assert load(at=100) == sent[0] - sent[1]
    dev.write(Space.PROGRAM, 3, [777])
    assert row < load() < row + 20
    dev.reset()  # what was on its way may be lost: nothing is known
    assert load() == sent[0] - sent[1]
    switch_off_and_on(dev, board)
    board.memory[Space.PROGRAM][:] = bytes(len(board.memory[Space.PROGRAM]))
    assert load() >= sent[0] - sent[1]


@pytest.mark.parametrize(
    ("space", "start", "values", "says"),
    [
        (Space.STATE, 4095, [0, 0], "elements 4095 to 4096"),
        (Space.STATE, -1, [0], "elements -1 to -1"),
        (Space.STATE, 0, [0, 1 << 15], "32768 for element 1"),
        (Space.STATE, 0, np.array([1 << 15], np.uint16), "-32768 to 32767"),
        (Space.STATE, 0, [0.5], "integers wanted"),
        (Space.STATE, 0, [[1]], "one dimension"),
        (Space.PROGRAM, 0, [1 << 80], "1208925819614629174706176 for element 0"),
        (Space.REGISTER, 0, [-1], "-1 for element 0"),
        (Space.REGISTER, 0, [5, 0], "SAMPLE_KEY"),
        (Space.INFO, 0, [0], "INFO cannot be written"),
    ],
)
def test_what_does_not_fit_is_refused_unsent(
    space: Space, start: int, values: object, says: str
) -> None:
    dev, _ = device()
    before = dev.link_stats.bytes_sent
    with pytest.raises(DeviceError, match=says):
        dev.write(space, start, values)  # type: ignore[arg-type]
    assert dev.link_stats.bytes_sent == before


def test_reads_that_do_not_exist() -> None:
    dev, _ = device(preset="up5k")  # without a table
    with pytest.raises(DeviceError, match="TABLE cannot be read"):
        dev.read(Space.TABLE, 0, 1)
    with pytest.raises(DeviceError, match=r"TABLE: .* has none"):
        dev.write(Space.TABLE, 0, [1])
    with pytest.raises(DeviceError, match="row 256"):
        dev.run(row=256)
    assert dev.read(Space.STATE, 5, 0).shape == (0,)


def samples(count: int, size: int) -> list[bytes]:
    return [random.Random(i).randbytes(size) for i in range(count)]


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 1), (300, 70), (50, 3000), (1, 70_000)])
def test_run_streams(count: int, size: int) -> None:
    # What is emitted must fit a record; what is waited for may be cut at will.
    piece = min(size, 60_000)
    total = count * size
    dev, board = device({0: echo(total // piece, piece), 9: echo(0, 1)})
    given = samples(count, size)
    if total % piece:
        given[-1] = given[-1][: piece - total % piece + len(given[-1]) - piece]
    got = list(dev.run(given))
    flat = b"".join(given)
    assert got == [flat[i : i + piece][::-1] for i in range(0, len(flat), piece)]
    assert list(dev.run(row=9)) == []
    assert board.link_drops == board.link_errors == 0


def test_too_few_and_too_many_samples() -> None:
    dev, board = device({0: echo(3, 8)})
    with pytest.raises(DeviceError, match="waits for another sample after all 2"):
        list(dev.run(samples(2, 8)))
    assert board.program is None
    for many in (4, 5, 5000):
        with pytest.raises(DeviceError, match="halted and did not take all"):
            list(dev.run(samples(many, 8)))
    assert len(list(dev.run(samples(3, 8)))) == 3


def test_run_that_is_left_early_is_aborted() -> None:
    dev, board = device({0: echo(1000, 50)})
    dev.write(Space.STATE, 0, [42])
    for _ in range(20):
        for number, _ in enumerate(dev.run(samples(1000, 50))):
            if number == 3:
                break
        assert board.program is None
        assert dev.read(Space.STATE, 0, 1).tolist() == [42]

    def interrupted() -> Iterator[bytes]:
        yield from samples(5, 50)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(dev.run(interrupted()))
    assert board.program is None
    assert len(list(dev.run(samples(1000, 50)))) == 1000


def test_one_run_at_a_time_and_reset_ends_it() -> None:
    dev, _ = device({0: echo(1000, 50)})
    run = dev.run(samples(1000, 50))
    next(run)
    with pytest.raises(DeviceError, match="runs already"):
        next(dev.run(samples(1, 1)))
    next(run)
    dev.reset()
    with pytest.raises(DeviceError, match="aborted by a reset"):
        list(run)


def test_memories_between_samples() -> None:
    """What the samples' iterable writes, the program finds when it takes the next one."""

    def program(board: BoardModel) -> Generator[int | bytes, bytes, None]:
        for _ in range(20):
            data = yield 1
            yield data + board.memory[Space.STATE][:2]

    dev, _ = device({0: program})

    def patched() -> Iterator[bytes]:
        for i in range(20):
            dev.write(Space.STATE, 0, [i])
            assert dev.read(Space.STATE, 0, 1).tolist() == [i]
            yield b"x"

    assert list(dev.run(patched())) == [b"x" + i.to_bytes(2, "little") for i in range(20)]


@pytest.mark.parametrize("seed", range(8))
def test_bad_line_gives_the_same_results(seed: int) -> None:
    print(f"seed {seed}")
    rates = dict(flip=2e-4, lose=1e-4, chunk=0.02)
    lines = FaultyLine(seed, **rates), FaultyLine(seed + 100, **rates)
    dev, board = device({0: echo(100, 50)}, "up5k", lines)
    values = list(range(-500, 500))
    dev.write(Space.STATE, 100, values)
    assert list(dev.run(samples(100, 50))) == [s[::-1] for s in samples(100, 50)]
    assert dev.read(Space.STATE, 100, 1000).tolist() == values
    dev.close()
    assert board.link_errors + dev.link_stats.damaged


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("what", ["sample", "memory"])
def test_what_no_frame_shows_is_an_error(preset: str, what: str) -> None:
    """A bit changed, its frame's CRC made right."""
    board = BoardModel(PRESETS[preset], {0: echo(20, 300)})
    rig = Rig(board)
    line = EvilLine(rig, b"needle" if what == "sample" else b"\x11\x11")
    dev = SerialDevice(line, clock=rig.clock)
    dev.write(Space.STATE, 0, [0x1111] * 20)
    given = [b"hay" * 50 + b"needle" + b"hay" * 48 for _ in range(20)]
    with pytest.raises(LinkError, match="no frame's CRC noticed"):
        list(dev.run(given))
        dev.read(Space.STATE, 0, 20)
    assert line.done
    dev.write(Space.STATE, 0, [7])  # and the device can be used again
    assert dev.read(Space.STATE, 0, 1).tolist() == [7]
    assert len(list(dev.run(given))) == 20


def test_what_was_only_written_is_checked_when_the_device_is_closed() -> None:
    board = BoardModel(CONFIG)
    rig = Rig(board)
    dev = SerialDevice(EvilLine(rig, b"\x11\x11\x11"), clock=rig.clock)
    dev.write(Space.STATE, 0, [0x1111] * 20)
    with pytest.raises(LinkError, match="no frame's CRC noticed"):
        dev.close()


def test_board_that_dies_is_told_and_can_come_back() -> None:
    dev, board = device({0: echo(10, 50)})
    switch_off_and_on(dev, board)
    assert len(list(dev.run(samples(10, 50)))) == 10


def test_the_first_error_is_told_and_names_the_port() -> None:
    """Closing the device would fail too, with another error."""
    dev, board = device({0: echo(1000, 50)})
    with pytest.raises(LinkError, match=r"^rig: (the board took none|nothing in order)"), dev:
        for _ in dev.run(samples(1000, 50)):
            board.deaf = True


def test_board_that_only_acknowledges_ends_in_finite_time() -> None:
    dev, board = device()
    board.step = lambda: None  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="not done what was asked"):
        dev.read(Space.STATE, 0, 1)


def test_no_board_in_the_rig() -> None:
    board = BoardModel(CONFIG)
    board.deaf = True
    rig = Rig(board)
    with pytest.raises(DeviceError, match="no relaxon board answers on rig"):
        SerialDevice(rig, clock=rig.clock)
    assert rig.closed
    assert rig.now < 2.0


def test_close() -> None:
    dev, board = device()
    with dev:
        dev.write(Space.STATE, 0, [7])
    assert board.memory[Space.STATE][0] == 7
    dev.close()
    with pytest.raises(DeviceError, match="closed"):
        dev.read(Space.STATE, 0, 1)


# The transport --------------------------------------------------------------------------------

posix = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")


class PtyBoard:
    """A `BoardModel` behind a pseudo-terminal."""

    def __init__(self, board: BoardModel | None) -> None:
        self.master, self.slave = os.openpty()
        self.port = os.ttyname(self.slave)
        self.board = board
        self.running = True
        self.thread = threading.Thread(target=self.serve)
        if board:
            self.thread.start()

    def serve(self) -> None:
        assert self.board
        os.set_blocking(self.master, False)
        while self.running:
            try:
                self.board.receive(os.read(self.master, 4096))
            except BlockingIOError:
                time.sleep(0.0005)
            self.board.step()
            while frame := self.board.transmit():
                os.write(self.master, frame)

    def stop(self) -> None:
        if self.running:
            self.running = False
            if self.board:
                self.thread.join()
            os.close(self.master)
            os.close(self.slave)


@posix
def test_pty() -> None:
    pty = PtyBoard(BoardModel(CONFIG, {0: echo(100, 50)}))
    try:
        with SerialDevice.open(pty.port) as dev:
            values = np.arange(-2000, 2000)
            dev.write(Space.STATE, 0, values)
            assert (dev.read(Space.STATE, 0, 4000) == values).all()
            assert len(list(dev.run(samples(100, 50)))) == 100
            with pytest.raises(DeviceError, match="in use"):
                SerialTransport(pty.port)
            pty.stop()
            with pytest.raises(LinkError, match="is gone"):
                dev.read(Space.STATE, 0, 1)
    finally:
        pty.stop()


@posix
def test_bytes_that_another_program_took_are_no_hangup(monkeypatch) -> None:
    pty = PtyBoard(None)
    try:
        line = SerialTransport(pty.port)
        assert not line.paced
        os.write(pty.master, b"x")
        monkeypatch.setattr(os, "read", lambda *_: b"")  # readable, and then there is nothing
        assert line.read(0.1) == b""
        monkeypatch.undo()
        assert line.read(0.1) == b"x"
        pty.stop()
        with pytest.raises(LinkError, match="is gone"):
            line.read(0.1)
    finally:
        pty.stop()


@posix
def test_pty_where_nobody_answers() -> None:
    pty = PtyBoard(None)
    try:
        began = time.monotonic()
        with pytest.raises(DeviceError, match=f"answers on {pty.port}"):
            SerialDevice.open(pty.port)
        assert time.monotonic() - began < 6
    finally:
        pty.stop()


def test_ports_that_cannot_be_opened(tmp_path) -> None:
    with pytest.raises(DeviceError, match=r"no port .*this computer has"):
        SerialDevice.open(str(tmp_path / "ttyNONE"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="not a serial port"):
        SerialTransport(str(tmp_path / "file"))


def test_only_the_first_contact_finds_a_board_unused() -> None:
    board = BoardModel(CONFIG)
    for unused in (True, False, False):
        rig = Rig(board)
        assert SerialDevice(rig, clock=rig.clock).unused is unused


def test_a_run_without_a_byte_ends_at_its_limit() -> None:
    dev, board = device({0: echo(1, 1)})
    dev.run_limit = 3.0
    board.step_program = lambda: False  # type: ignore[method-assign]
    with pytest.raises(LinkError, match=r"for 3\.0 s"):
        list(dev.run([b"x"]))
    del board.step_program
    assert list(dev.run([b"x"])) == [b"x"]
