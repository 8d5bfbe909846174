"""A naive machine in Python integers, written from the contract, and a bench for the core."""

from amaranth.sim import Simulator

from relaxon_hdl.core import Core
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import drain_cycles, fetch_cycles, issue_cycles
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Gating,
    Halt,
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
from relaxon_isa.program import Program

MASK = (1 << 32) - 1


def rotl(x: int, by: int) -> int:
    by %= 32
    return (x << by | x >> (32 - by)) & MASK


def mix(x: int) -> int:
    x ^= x << 13 & MASK
    x ^= x >> 17
    return x ^ (x << 5 & MASK)


def hash_pair(key: int, a: int) -> tuple[int, int]:
    x = mix((key + a * 0x00010001) & MASK)
    u = mix((x + rotl(key, 16)) & MASK)
    return u, mix((u + 0x9E3779B9) & MASK)


def clip(x: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, x))


def away(x: int, q: int) -> int:
    """x / 2**q, to nearest, halves away from zero."""
    magnitude = (abs(x) + (1 << q >> 1)) >> q
    return -magnitude if x < 0 else magnitude


def nest(levels):
    """Trips of a nest, outermost first, as tuples of indices."""
    if not levels:
        yield ()
        return
    for trip in range(levels[0].count):
        for rest in nest(levels[1:]):
            yield (trip, *rest)


class Machine:
    """Memories and registers, and `run`."""

    def __init__(self, config: ArrayConfig):
        self.config = config
        p = config.p
        self.s = [[0] * p for _ in range(config.state_depth)]
        self.d = [[0] * p for _ in range(config.drive_depth)]
        self.w = [[[0] * p for _ in range(p)] for _ in range(config.weight_depth)]
        self.table = [0] * (1 << config.table_bits)
        self.flag = False
        self.registers = dict.fromkeys(Register, 0)
        if config.dither_bits:
            self.registers[Register.UPDATE_KEY] = self.registers[Register.SAMPLE_KEY] = 1
        self.emitted = bytearray()

    def count(self, register: Register, amount: int = 1) -> None:
        kinds = range(Register.MAC_CYCLES, Register.EMIT_CYCLES + 1)
        if not self.config.kind_counters and register in kinds:
            register = Register.MAC_CYCLES
        if self.counting:
            self.registers[register] = (self.registers[register] + amount) & MASK

    def run(self, program: Program, sample: bytes = b"", counting: bool = True) -> None:
        self.counting = counting
        self.flag = False
        self.sample = list(sample)
        self.index: list[int] = [0]
        loops: list[list[int]] = []
        pc, drain = 0, 0
        ops = program.instructions
        while True:
            op = ops[pc]
            self.count(Register.CONTROL_CYCLES, max(0, fetch_cycles(op) - drain))
            own = issue_cycles(self.config, op) + drain_cycles(self.config, op)
            drain = drain_cycles(self.config, op)
            pc += 1
            match op:
                case Mac():
                    self.mac(op)
                    self.count(Register.MAC_CYCLES, own)
                case Learn():
                    self.learn(op)
                    self.count(Register.LEARN_CYCLES, own)
                case Wait():
                    self.wait(op)
                    self.count(Register.WAIT_CYCLES, own)
                case Emit():
                    self.emit(op)
                    self.count(Register.EMIT_CYCLES, own)
                case _:
                    self.count(Register.CONTROL_CYCLES, own)
            match op:
                case Loop():
                    skip = {Skip.NEVER: False, Skip.IF_FLAG: self.flag}
                    if skip.get(op.skip, not self.flag):
                        depth = 1
                        while depth:
                            depth += isinstance(ops[pc], Loop) - isinstance(ops[pc], Next)
                            pc += 1
                    else:
                        loops.append([pc, op.count, op])
                        self.index.append(0)
                case Next():
                    body, left, loop = loops[-1]
                    if loop.sweep:
                        self.count(Register.SWEEPS)
                    if left == 1 or (loop.until and self.flag):
                        loops.pop()
                        self.index.pop()
                    else:
                        loops[-1][1] -= 1
                        self.index[-1] += loop.step
                        pc = body
                case Halt():
                    return

    def signs(self, op, levels, trips) -> int:
        minus = op.sign is Sign.MINUS or (
            op.sign is Sign.RANDOM and self.registers[Register.SAMPLE_KEY] & 1
        )
        flips = sum(level.flip and trip % 2 for level, trip in zip(levels, trips, strict=True))
        return -1 if (minus + flips) % 2 else 1

    def mac(self, op: Mac) -> None:
        config, p, n = self.config, self.config.p, self.config.state_bits
        levels = (*op.outer, *op.inner)
        s, w = [list(g) for g in self.s], self.w
        d = [list(g) for g in self.d]
        one = 1 << op.one
        if op.judge and op.fresh:
            self.flag = True

        def at(name, trips):
            base = op.old_base if name == "old" else getattr(op, name)
            field = "dst" if name == "old" else name
            strides = (getattr(v, field) * t for v, t in zip(levels, trips, strict=False))
            return base + self.index[getattr(op, f"{field}_x")] + sum(strides)

        for outer in nest(op.outer):
            acc = list(d[at("drive", outer)]) if op.from_drive else [0] * p
            for inner in nest(op.inner):
                trips = (*outer, *inner)
                sign = self.signs(op, levels, trips)
                tile, src = w[at("tile", trips)], s[at("src", trips)]
                for k in range(p):
                    for j in range(p):
                        weight = tile[j][k] if op.transposed else tile[k][j]
                        acc[k] += sign * weight * src[j]
            lanes = p
            if op.tail:
                level = -1 - op.tail_level
                if not op.outer or outer[level] == op.outer[level].count - 1:
                    lanes = op.tail
            dst = at("dst", outer)
            saturated = False
            for k in range(lanes):
                if op.to_drive:
                    self.d[dst][k] = acc[k]
                    continue
                v = (acc[k] + (1 << op.shift >> 1)) >> op.shift
                u = v << op.up
                if op.activation is Activation.LINEAR:
                    a = clip(u, n)
                    saturated |= a != u
                elif op.activation is Activation.CLIP01:
                    a = max(0, min(one, u))
                elif op.activation is Activation.CLIP11:
                    a = max(-one, min(one, u))
                elif op.activation is Activation.RELU:
                    a = max(0, clip(u, n))
                    saturated |= u > a and u > 0
                elif op.activation is Activation.TABLE:
                    half = 1 << (config.table_bits - 1)
                    a = self.table[clip(v, config.table_bits) + half]
                else:
                    u = hash_pair(self.registers[Register.SAMPLE_KEY], dst)[0]
                    a = -one if rotl(u, 3 * k) & 1 else one
                if op.gating:
                    g = s[at("gate", outer)][k]
                    inside = {
                        Gating.IN01: 0 < g < one,
                        Gating.IN11: -one < g < one,
                        Gating.POSITIVE: g > 0,
                    }
                    a = a if inside[op.gating] else 0
                old = s[at("old", outer)][k] if op.reads_old else 0
                new = a
                if op.step:
                    new = old + ((a - old + (1 << (op.step - 1))) >> op.step)
                if op.judge is Judge.CHANGE:
                    self.flag &= abs(new - old) <= op.tol
                if op.judge is Judge.VALUE:
                    self.flag &= abs(new) <= op.tol
                self.s[dst][k] = new
            if saturated:
                self.count(Register.STATE_SATURATIONS)

    def learn(self, op: Learn) -> None:
        config, p, n = self.config, self.config.p, self.config.weight_bits
        levels = (*op.outer, *op.inner)
        base = op.tile + self.index[op.tile_x]
        first, second = config.learn_shifts
        q = config.learn_shifts[op.position]
        for outer in nest(op.outer):
            move = sum(v.tile * t for v, t in zip(op.outer, outer, strict=True))
            acc = [[0] * p for _ in range(p)]
            for inner in nest(op.inner):
                trips = (*outer, *inner)
                sign = self.signs(op, levels, trips)
                col = op.col + self.index[op.col_x]
                row = op.row + self.index[op.row_x]
                col += sum(v.col * t for v, t in zip(levels, trips, strict=True))
                row += sum(v.row * t for v, t in zip(levels, trips, strict=True))
                for r in range(p):
                    for c in range(p):
                        acc[r][c] += sign * self.s[row][r] * self.s[col][c]
            u, v = hash_pair(self.registers[Register.UPDATE_KEY], move % (1 << 16))
            saturated = False
            for r in range(p):
                for c in range(p):
                    if op.diagonal and r != c:
                        continue
                    w = self.w[base + move][r][c]
                    if op.integral:
                        memory = self.w[base + move + 1][r][c]
                        delta = clip(away(acc[r][c], first), n) - memory
                        self.w[base + move + 1][r][c] = clip(
                            memory + away(delta, config.integral_shift), n
                        )
                        live = delta if abs(delta) > op.threshold else 0
                        exact = w + away(live, second - first)
                    else:
                        x = acc[r][c] - (w << (q - config.decay_shift) if op.decay else 0)
                        if op.stochastic:
                            bits = config.dither_bits
                            h = (rotl(u, 3 * r) ^ rotl(v, 5 * c)) % (1 << bits)
                            step = (x + ((2 * h + 1) << (q - bits - 1))) >> q
                        else:
                            step = away(x, q)
                        exact = (0 if op.replace else w) + step
                    new = clip(exact, n)
                    saturated |= new != exact
                    self.w[base + move][r][c] = max(new, 0) if op.bound else new
            if saturated:
                self.count(Register.WEIGHT_SATURATIONS)
        if not op.hold and config.dither_bits:
            self.registers[Register.UPDATE_KEY] = mix(self.registers[Register.UPDATE_KEY])

    def wait(self, op: Wait) -> None:
        if op.tick:
            self.count(Register.SAMPLES)
            if self.config.dither_bits:
                self.registers[Register.SAMPLE_KEY] = mix(self.registers[Register.SAMPLE_KEY])
        values = []
        while len(values) < op.count:
            if op.pack is Pack.WORD:
                size = element_bytes(self.config, Space.STATE)
                word = int.from_bytes(bytes(self.sample[:size]), "little")
                del self.sample[:size]
                word &= (1 << self.config.state_bits) - 1
                values.append(
                    word - (word >> (self.config.state_bits - 1) << self.config.state_bits)
                )
                continue
            byte, bits = self.sample.pop(0), op.pack.bits
            for k in range(0, 8, bits):
                value = byte >> k & ((1 << bits) - 1)
                if op.signed:
                    value -= value >> (bits - 1) << bits
                values.append(value << op.shift)
        group = op.dst + self.index[op.dst_x]
        for k, value in enumerate(values[: op.count]):
            self.s[group + k // self.config.p][k % self.config.p] = value

    def emit(self, op: Emit) -> None:
        base = op.base + self.index[op.base_x]
        p = self.config.p
        if op.kind is EmitKind.COUNTERS:
            body = b"".join(
                self.registers[Register(base + k)].to_bytes(4, "little") for k in range(op.count)
            )
        else:
            space = Space.DRIVE if op.kind is EmitKind.DRIVE else Space.STATE
            plane = self.d if op.kind is EmitKind.DRIVE else self.s
            words = [plane[base + k // p][k % p] for k in range(op.count)]
            size = element_bytes(self.config, space)
            body = b"".join(word.to_bytes(size, "little", signed=True) for word in words)
            if op.kind is EmitKind.ARGMAX:
                body = words.index(max(words)).to_bytes(2, "little")
        self.emitted += b"\x82" + len(body).to_bytes(2, "little") + body


def signed(word: int, bits: int) -> int:
    return word - (word >> (bits - 1) << bits)


class Bench:
    """The core under simulation, its memories set and read directly."""

    def __init__(self, config: ArrayConfig, limit: int = 20000):
        self.config = config
        self.core = Core(config)
        self.limit = limit

    def simulate(self, test) -> None:
        """Run ``async test(ctx)`` in domain sync; fail when it takes too long."""
        simulator = Simulator(self.core)
        simulator.add_clock(1e-6)
        ended = False

        async def testbench(ctx):
            nonlocal ended
            await test(ctx)
            ended = True

        simulator.add_testbench(testbench)
        for _ in range(4 * self.limit):
            simulator.advance()
            if ended:
                return
        raise TimeoutError(f"no end after {self.limit} cycles")

    def poke(self, ctx, machine: Machine) -> None:
        """Memories of the machine into the core's."""
        config, array = self.config, self.core.array
        word, acc, weight = config.state_bits, config.acc_bits, config.weight_bits
        for k in range(config.p):
            for g, group in enumerate(machine.s):
                for copy in array.states[k].copies.values():
                    ctx.set(copy.words[g], group[k] & ((1 << word) - 1))
            for g, group in enumerate(machine.d):
                ctx.set(array.drives[k].words[g], group[k] & ((1 << acc) - 1))
            if config.table_bits:
                for a, entry in enumerate(machine.table):
                    ctx.set(array.lanes[k].table.words[a], entry & ((1 << word) - 1))
        for (r, c), cell in array.cells.items():
            for t, tile in enumerate(machine.w):
                ctx.set(cell.weights.ram.words[t], tile[r][c] & ((1 << weight) - 1))

    def differences(self, ctx, machine: Machine) -> list[str]:
        """Where the core's memories are not the machine's."""
        config, array = self.config, self.core.array
        found = []

        def compare(what, words, address, bits, expected):
            got = signed(ctx.get(words[address]), bits)
            if got != expected:
                found.append(f"{what}: {got}, not {expected}")

        for k in range(config.p):
            for g, group in enumerate(machine.s):
                for port, copy in array.states[k].copies.items():
                    compare(f"S{port}[{g}][{k}]", copy.words, g, config.state_bits, group[k])
            for g, group in enumerate(machine.d):
                compare(f"D[{g}][{k}]", array.drives[k].words, g, config.acc_bits, group[k])
        for (r, c), cell in array.cells.items():
            for t, tile in enumerate(machine.w):
                words = cell.weights.ram.words
                compare(f"W[{t}][{r}][{c}]", words, t, config.weight_bits, tile[r][c])
        return found

    async def write(self, ctx, space: Space, index: int, lane: int, value: int) -> None:
        memory = self.core.bus.memory
        ctx.set(memory.valid, 1)
        ctx.set(memory.write, 1)
        ctx.set(memory.space, space)
        ctx.set(memory.index, index)
        ctx.set(memory.lane, lane)
        ctx.set(memory.wdata, value & ((1 << len(memory.wdata)) - 1))
        await ctx.tick().until(memory.ready)
        ctx.set(memory.valid, 0)

    async def read(self, ctx, space: Space, index: int, lane: int = 0) -> int:
        memory = self.core.bus.memory
        ctx.set(memory.valid, 1)
        ctx.set(memory.write, 0)
        ctx.set(memory.space, space)
        ctx.set(memory.index, index)
        ctx.set(memory.lane, lane)
        (value,) = await ctx.tick().sample(memory.rdata).until(memory.ready)
        ctx.set(memory.valid, 0)
        return value

    async def load(self, ctx, program: Program, at: int = 0) -> None:
        for row, bits in enumerate(program.rows):
            await self.write(ctx, Space.PROGRAM, at + row, 0, bits)

    async def run(self, ctx, row: int = 0, sample: bytes = b"", counting: bool = True):
        """RUN to DONE; bytes emitted, and the cycles that it was running."""
        bus = self.core.bus
        ctx.set(bus.run.payload.row, row)
        ctx.set(bus.run.payload.count, counting)
        ctx.set(bus.run.valid, 1)
        await ctx.tick().until(bus.run.ready)
        ctx.set(bus.run.valid, 0)
        ctx.set(bus.emit.ready, 1)
        emitted, left, cycles = bytearray(), list(sample), 0
        while True:
            ctx.set(bus.sample.valid, bool(left))
            ctx.set(bus.sample.payload, left[0] if left else 0)
            done, running = ctx.get(bus.done), ctx.get(bus.running)
            cycles += running
            if ctx.get(bus.emit.valid):
                emitted.append(ctx.get(bus.emit.payload))
            if left and ctx.get(bus.sample.ready):
                left.pop(0)
            await ctx.tick()
            if done:
                ctx.set(bus.sample.valid, 0)
                return bytes(emitted), cycles
