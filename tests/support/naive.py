"""The contract read aloud: a slow machine in Python ints, to judge the golden model by.

It walks instructions, not rows, one trip, one lane and one cell at a time, and shares nothing
with the golden model but the contract's fields and cycle formulas.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import (
    drain_cycles,
    fetch_cycles,
    hiding_cycles,
    issue_cycles,
    wait_bytes,
)
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Gating,
    Halt,
    Instruction,
    Judge,
    Learn,
    Loop,
    Mac,
    Next,
    Pack,
    Sign,
    Skip,
    Wait,
)
from relaxon_isa.memory import Register, Space, element_bytes

__all__ = ["Naive"]

M32 = 0xFFFFFFFF


def mix(x: int) -> int:
    x ^= (x << 13) & M32
    x ^= x >> 17
    x ^= (x << 5) & M32
    return x


def rotl(x: int, n: int) -> int:
    n %= 32
    return ((x << n) | (x >> (32 - n))) & M32


def hash_words(key: int, a: int) -> tuple[int, int]:
    x = mix((key + a * 0x00010001) & M32)
    u = mix((x + rotl(key, 16)) & M32)
    return u, mix((u + 0x9E3779B9) & M32)


def half_up(x: int, n: int) -> int:
    return x if n == 0 else (x + 2 ** (n - 1)) // 2**n


def half_away(x: int, n: int) -> int:
    magnitude = (abs(x) + 2 ** (n - 1)) // 2**n
    return -magnitude if x < 0 else magnitude


def wrapped(x: int, bits: int) -> int:
    x %= 2**bits
    return x - 2**bits if x >= 2 ** (bits - 1) else x


class Memory(dict):
    """Lists of words by address; what was never written is 0."""

    def __init__(self, words: int) -> None:
        self.words = words

    def __missing__(self, address: int) -> list[int]:
        self[address] = [0] * self.words
        return self[address]


class Naive:
    """A machine.

    Members
    -------
    S, D
        ``S[group][lane]``
    W
        ``W[tile][row * p + column]``
    table, registers
        Lists of ints.
    flag
        What MACs judge.
    lists, label
        The present sample: (group, value) of each column's entries.
    events
        Names of what happened: loops left early, values right at a bound, ties, ...
    moved
        What the last MAC judged; how far the last integral LEARN was from its memories.
    executed
        Of every instruction that has run, in order: where it is, the loop indices, and the groups
        of the present sample's lists.
    results
        Counts of what lanes and cells produced: "zero", "saturated" and "other".
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        p = config.p
        self.S, self.D, self.W = Memory(p), Memory(p), Memory(p * p)
        self.table = [0] * 2**config.table_bits
        self.registers = [0] * len(Register)
        if config.dither_bits:
            self.registers[Register.UPDATE_KEY] = self.registers[Register.SAMPLE_KEY] = 1
        if config.sample_memory:
            self.registers[Register.MEMORY] = 1 << 25
        self.flag = False
        self.lists: list[list[tuple[int, int]]] = [[] for _ in range(p)]
        self.label = -1
        self.X = [0]
        self.count = True
        self.results = {"zero": 0, "saturated": 0, "other": 0}
        self.events: set[str] = set()
        self.moved: list[int] = []
        self.executed: list[tuple[int, list[int], list[list[int]]]] = []

    def write(self, memory: Mapping[Space, tuple[int, Sequence[int]]]) -> None:
        """What the host writes: for each space the first element and the values."""
        p = self.config.p
        for space, (start, values) in memory.items():
            for i, value in enumerate(values, start):
                match space:
                    case Space.STATE:
                        self.S[i // p][i % p] = value
                    case Space.DRIVE:
                        self.D[i // p][i % p] = value
                    case Space.TABLE:
                        self.table[i] = value
                    case Space.REGISTER:
                        self.set_register(Register(i), value)

    def set_register(self, which: Register, value: int) -> None:
        """Registers that the configuration leaves out stay 0."""
        keys = (Register.UPDATE_KEY, Register.SAMPLE_KEY)
        kinds = range(Register.LEARN_CYCLES, Register.EMIT_CYCLES + 1)
        if which in keys and not self.config.dither_bits:
            return
        if which is Register.MEMORY:
            return
        if which in kinds and not self.config.kind_counters:
            return
        self.registers[which] = value

    def copy(self) -> "Naive":
        """Another machine in the same state, with counts of its own."""
        other = Naive(self.config)
        for name in ("S", "D", "W"):
            getattr(other, name).update({k: list(v) for k, v in getattr(self, name).items()})
        other.table, other.registers = list(self.table), list(self.registers)
        other.flag = self.flag
        other.lists, other.label = self.lists, self.label
        return other

    def note(self, value: int, saturated: bool) -> None:
        self.results["saturated" if saturated else "other" if value else "zero"] += 1

    # The sequencer ------------------------------------------------------------------------

    def run(
        self, instructions: Sequence[Instruction], take: Callable[[int], bytes], count: bool = True
    ) -> Iterator[bytes]:
        """Run to HALT; ``take(n)`` supplies the n bytes of a WAIT. Yields EMIT payloads."""
        config = self.config
        self.flag, self.count = False, count
        self.lists, self.label = [[] for _ in range(config.p)], -1
        open_loops: list[tuple[int, Loop, int]] = []  # (where, loop, trip)
        hidden = 0
        i = 0
        while True:
            instruction = instructions[i]
            self.X = [0] + [trip * loop.step for _, loop, trip in open_loops]
            self.executed.append((i, self.X, [[g for g, _ in column] for column in self.lists]))
            self.add(Register.CONTROL_CYCLES, max(0, fetch_cycles(instruction) - hidden))
            listed = max(map(len, self.lists))
            hidden = hiding_cycles(config, instruction, listed)
            cycles = issue_cycles(config, instruction, listed) + drain_cycles(config, instruction)
            i += 1
            match instruction:
                case Mac():
                    self.mac(instruction)
                    self.add(Register.MAC_CYCLES, cycles)
                case Learn():
                    self.learn(instruction)
                    self.add(Register.LEARN_CYCLES, cycles)
                case Wait():
                    self.wait(instruction, take(wait_bytes(config, instruction)))
                    self.add(Register.WAIT_CYCLES, cycles)
                case Emit():
                    payload = self.emit(instruction)
                    if instruction.kind is not EmitKind.ANSWER:
                        yield payload
                    self.add(Register.EMIT_CYCLES, cycles)
                case Loop():
                    self.add(Register.CONTROL_CYCLES, cycles)
                    skip = {Skip.NEVER: False, Skip.IF_FLAG: self.flag}
                    if skip.get(instruction.skip, not self.flag):
                        self.events.add(f"loop.skipped.{instruction.skip.name}")
                        depth = 1
                        while depth:
                            depth += isinstance(instructions[i], Loop)
                            depth -= isinstance(instructions[i], Next)
                            i += 1
                    else:
                        open_loops.append((i, instruction, 0))
                case Next():
                    self.add(Register.CONTROL_CYCLES, cycles)
                    body, loop, trip = open_loops.pop()
                    if loop.sweep:
                        self.add(Register.SWEEPS, 1)
                    if trip + 1 < loop.count and not (loop.until and self.flag):
                        open_loops.append((body, loop, trip + 1))
                        i = body
                    elif trip + 1 < loop.count:
                        self.events.add("loop.settled")
                case Halt():
                    self.add(Register.CONTROL_CYCLES, cycles)
                    return

    def run_one(self, instruction: Instruction) -> None:
        """One MAC or LEARN, in its place in the open loops that ``X`` says; else nothing."""
        if isinstance(instruction, Mac):
            self.mac(instruction)
        elif isinstance(instruction, Learn):
            self.learn(instruction)

    def add(self, register: Register, amount: int) -> None:
        kinds = range(Register.MAC_CYCLES, Register.EMIT_CYCLES + 1)
        if not self.config.kind_counters and register in kinds:
            register = Register.MAC_CYCLES
        if self.count:
            self.registers[register] = (self.registers[register] + amount) % 2**32

    # Nests --------------------------------------------------------------------------------

    @staticmethod
    def trips(levels):
        return product(*(range(level.count) for level in levels))

    @staticmethod
    def at(base, levels, trip, name):
        return base + sum(t * getattr(v, name) for t, v in zip(trip, levels, strict=True))

    def sign(self, sign: Sign, levels, trip) -> int:
        s = {Sign.PLUS: 1, Sign.MINUS: -1}.get(sign)
        if s is None:
            s = -1 if self.registers[Register.SAMPLE_KEY] & 1 else 1
        for t, level in zip(trip, levels, strict=True):
            if level.flip and t % 2 == 1:
                s = -s
        return s

    def accumulators(self, m: Mac) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        """Outer trips and their accumulators."""
        config, p, X = self.config, self.config.p, self.X
        levels = (*m.outer, *m.inner)
        for outer in self.trips(m.outer):
            drive = self.at(m.drive + X[m.drive_x], m.outer, outer, "drive")
            acc = list(self.D[drive]) if m.from_drive else [0] * p
            if m.walk:
                s = self.sign(m.sign, m.outer, outer)
                base = self.at(m.tile + X[m.tile_x], m.outer, outer, "tile")
                for c in range(p):
                    for group, value in self.lists[c]:
                        for r in range(p):
                            acc[r] += s * self.W[base + group][r * p + c] * value
                yield outer, [wrapped(x, config.acc_bits) for x in acc]
                continue
            for inner in self.trips(m.inner):
                trip = (*outer, *inner)
                s = self.sign(m.sign, levels, trip)
                tile = self.W[self.at(m.tile + X[m.tile_x], levels, trip, "tile")]
                src = self.S[self.at(m.src + X[m.src_x], levels, trip, "src")]
                for k in range(p):
                    for n in range(p):
                        acc[k] += s * tile[n * p + k if m.transposed else k * p + n] * src[n]
            yield outer, [wrapped(x, config.acc_bits) for x in acc]

    def mac(self, m: Mac) -> None:
        p, X = self.config.p, self.X
        if m.judge and m.fresh:
            self.flag = True
        writes = []
        self.moved = []
        for outer, acc in self.accumulators(m):
            lanes = p
            if m.tail:
                trip = outer[-1 - m.tail_level] if outer else 0
                last = m.outer[-1 - m.tail_level].count - 1 if outer else 0
                lanes = m.tail if trip == last else p
            dst = self.at(m.dst + X[m.dst_x], m.outer, outer, "dst")
            old = self.at(m.old_base + X[m.dst_x], m.outer, outer, "dst")
            gate = self.at(m.gate + X[m.gate_x], m.outer, outer, "gate")
            drive = self.at(m.drive + X[m.drive_x], m.outer, outer, "drive")
            saturated = False
            for lane in range(lanes):
                if m.both:
                    writes.append((self.D, drive, lane, acc[lane]))
                if m.to_drive:
                    writes.append((self.D, dst, lane, acc[lane]))
                    continue
                a, met = self.activation(m, half_up(acc[lane], m.shift), dst, lane)
                saturated |= met
                clipped = m.activation in (Activation.CLIP01, Activation.CLIP11)
                self.note(a, met or (clipped and abs(a) == 2**m.one))
                if m.gating and not self.inside(m, self.S[gate][lane]):
                    a = 0
                before = self.S[old][lane] if m.reads_old else 0
                new = before + half_up(a - before, m.step) if m.step else a
                if m.judge:
                    self.judge(m, new - before if m.judge is Judge.CHANGE else new)
                writes.append((self.S, dst, lane, new))
            if saturated:
                self.add(Register.STATE_SATURATIONS, 1)
        for memory, group, lane, value in writes:
            memory[group][lane] = value

    def activation(self, m: Mac, v: int, dst: int, lane: int) -> tuple[int, bool]:
        config = self.config
        high = 2 ** (config.state_bits - 1) - 1
        low = -high - 1
        one = 2**m.one
        u = v * 2**m.up
        match m.activation:
            case Activation.CLIP01:
                return min(max(u, 0), one), False
            case Activation.CLIP11:
                return min(max(u, -one), one), False
            case Activation.RELU:
                return min(max(u, 0), high), u > high
            case Activation.TABLE:
                half = 2 ** (config.table_bits - 1)
                return self.table[min(max(v, -half), half - 1) + half], False
            case Activation.RANDOM:
                u, _ = hash_words(self.registers[Register.SAMPLE_KEY], dst % 2**16)
                return (-one if rotl(u, 3 * lane) & 1 else one), False
        return min(max(u, low), high), not low <= u <= high

    def judge(self, m: Mac, moved: int) -> None:
        self.moved.append(moved)
        self.flag &= abs(moved) <= m.tol
        if abs(moved) in (m.tol, m.tol + 1):
            self.events.add(f"judge.{'at' if abs(moved) == m.tol else 'beyond'}{'-+'[moved > 0]}")

    def inside(self, m: Mac, g: int) -> bool:
        one = 2**m.one
        if g in (0, one, -one):
            self.events.add(f"gate.{m.gating.name}.{(g > 0) - (g < 0)}")
        return {
            Gating.IN01: 0 < g < one,
            Gating.IN11: -one < g < one,
            Gating.POSITIVE: g > 0,
        }[m.gating]

    def learn(self, m: Learn) -> None:
        config, p, X = self.config, self.config.p, self.X
        key = self.registers[Register.UPDATE_KEY]
        levels = (*m.outer, *m.inner)
        base = m.tile + X[m.tile_x]
        q = config.learn_shifts[m.position]
        high = 2 ** (config.weight_bits - 1) - 1

        def saturate(x: int) -> int:
            return min(max(x, -high - 1), high)

        if m.walk:
            self.learn_lists(m, base, q)
            return
        self.moved = []
        for outer in self.trips(m.outer):
            tile = self.at(base, m.outer, outer, "tile")
            acc = [[0] * p for _ in range(p)]
            for inner in self.trips(m.inner):
                trip = (*outer, *inner)
                s = self.sign(m.sign, levels, trip)
                row = self.S[self.at(m.row + X[m.row_x], levels, trip, "row")]
                col = self.S[self.at(m.col + X[m.col_x], levels, trip, "col")]
                for r in range(p):
                    for c in range(p):
                        acc[r][c] += s * row[r] * col[c]
            u, v = hash_words(key, (tile - base) % 2**16)
            saturated = False
            for r in range(p):
                for c in range(p):
                    if m.diagonal and r != c:
                        continue
                    w = self.W[tile][r * p + c]
                    if m.integral:
                        memory = self.W[tile + 1][r * p + c]
                        d = saturate(half_away(acc[r][c], config.learn_shifts[0])) - memory
                        memory = saturate(memory + half_away(d, config.integral_shift))
                        self.W[tile + 1][r * p + c] = memory
                        g = d if abs(d) > m.threshold else 0
                        self.moved.append(d)
                        if abs(d) in (m.threshold, m.threshold + 1):
                            self.events.add(f"dead zone.{'beyond' if g else 'edge'}{'-+'[d > 0]}")
                        new = w + half_away(g, config.learn_shifts[1] - config.learn_shifts[0])
                    else:
                        x = acc[r][c]
                        if m.decay:
                            x -= w * 2 ** (q - config.decay_shift)
                        if m.stochastic:
                            h = rotl(u, 3 * r) ^ rotl(v, 5 * c)
                            h %= 2**config.dither_bits
                            x = (x + (2 * h + 1) * 2 ** (q - config.dither_bits - 1)) // 2**q
                        else:
                            if abs(x) % 2**q == 2 ** (q - 1):
                                self.events.add(f"tie.{m.position}{'-+'[x > 0]}")
                            x = half_away(x, q)
                        new = x if m.replace else w + x
                    met = new != saturate(new)
                    saturated |= met
                    self.note(saturate(new), met)
                    new = saturate(new)
                    self.W[tile][r * p + c] = max(new, 0) if m.bound else new
            if saturated:
                self.add(Register.WEIGHT_SATURATIONS, 1)
        if not m.hold and config.dither_bits:
            self.registers[Register.UPDATE_KEY] = mix(key)

    def learn_lists(self, m: Learn, base: int, q: int) -> None:
        """A LEARN that walks, row by row of the lists."""
        config, p = self.config, self.config.p
        high = 2 ** (config.weight_bits - 1) - 1
        levels = m.outer[:-1]
        for outer in self.trips(levels):
            s = self.sign(m.sign, levels, outer)
            row = self.S[self.at(m.row + self.X[m.row_x], levels, outer, "row")]
            first = self.at(base, levels, outer, "tile")
            for t in range(max(map(len, self.lists))):
                saturated = False
                for c in range(p):
                    if t >= len(self.lists[c]):
                        continue
                    group, value = self.lists[c][t]
                    for r in range(p):
                        if m.diagonal and r != c:
                            continue
                        cells = self.W[first + group]
                        new = cells[r * p + c] + half_away(s * row[r] * value, q)
                        met = not -high - 1 <= new <= high
                        saturated |= met
                        cells[r * p + c] = min(max(new, -high - 1), high)
                        self.note(cells[r * p + c], met)
                if saturated:
                    self.add(Register.WEIGHT_SATURATIONS, 1)
        if not m.hold and config.dither_bits:
            self.registers[Register.UPDATE_KEY] = mix(self.registers[Register.UPDATE_KEY])

    def take_sample(self, m: Wait, data: bytes) -> None:
        """A WAIT that is ahead."""
        p, bits = self.config.p, m.pack.bits
        self.label = data[-1] if m.outputs else -1
        word = sum(byte << 8 * i for i, byte in enumerate(data))
        values = [(word >> n * bits) % 2**bits for n in range(m.count)]
        if m.signed:
            values = [wrapped(value, bits) for value in values]
        if m.bias:
            values.append(2 ** (bits - m.signed))
        self.lists = [[] for _ in range(p)]
        for n, value in enumerate(values):
            if value or m.dense:
                self.lists[n % p].append((n // p, value << m.shift))
        if not all(self.lists):
            self.events.add("sample.empty column")
        for n in range(m.outputs):
            target = m.high if n == self.label else m.low
            self.S[m.dst + self.X[m.dst_x] + n // p][n % p] = target
        if m.outputs:
            self.events.add(f"sample.label {'known' if self.label < m.outputs else 'unknown'}")

    # The link -----------------------------------------------------------------------------

    def wait(self, m: Wait, data: bytes) -> None:
        config, p = self.config, self.config.p
        if m.tick:
            if config.dither_bits:
                key = mix(self.registers[Register.SAMPLE_KEY])
                self.registers[Register.SAMPLE_KEY] = key
            self.add(Register.SAMPLES, 1)
        if m.ahead:
            self.take_sample(m, data)
            return
        word = sum(byte << 8 * i for i, byte in enumerate(data))
        is_word = m.pack is Pack.WORD
        pitch = 8 * element_bytes(config, Space.STATE) if is_word else m.pack.bits
        bits = config.state_bits if is_word else pitch
        assert len(data) * 8 >= m.count * pitch > len(data) * 8 - 8
        for n in range(m.count):
            value = (word >> n * pitch) % 2**bits
            if is_word or m.signed:
                value = wrapped(value, bits)
            self.S[m.dst + self.X[m.dst_x] + n // p][n % p] = value << m.shift

    def emit(self, m: Emit) -> bytes:
        config, p = self.config, self.config.p
        base = m.base + self.X[m.base_x]
        if m.kind is EmitKind.COUNTERS:
            values = self.registers[base : base + m.count]
            return b"".join(value.to_bytes(4, "little") for value in values)
        memory = self.D if m.kind is EmitKind.DRIVE else self.S
        values = [memory[base + n // p][n % p] for n in range(m.count)]
        if m.kind is EmitKind.ANSWER:
            if values.index(max(values)) != self.label:
                self.add(Register.WRONG, 1)
            self.events.add(f"answer.{values.index(max(values)) == self.label}")
            return b""
        if m.kind is EmitKind.ARGMAX:
            if values.count(max(values)) > 1:
                self.events.add("arg max.tie")
            return values.index(max(values)).to_bytes(2, "little")
        space = Space.DRIVE if m.kind is EmitKind.DRIVE else Space.STATE
        width = element_bytes(config, space)
        return b"".join(value.to_bytes(width, "little", signed=True) for value in values)
