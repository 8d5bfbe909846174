"""Which programs a configuration can run. The others are rejected with the reason."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from .config import FEATURES, ArrayConfig
from .cycles import emit_bytes, trips
from .encoding import DRAIN_BITS, loop_ends, rows_of
from .errors import ProgramError
from .instructions import (
    INDEX_SELECTS,
    LEARN_FLAGS,
    LEVEL_COUNT_BITS,
    LOOP_COUNT_BITS,
    Activation,
    Emit,
    EmitKind,
    Gating,
    Halt,
    Instruction,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Wait,
    describe,
    nest_levels,
)
from .memory import Register, registers

__all__ = ["check", "check_fields"]

INDEX_COMBINATIONS = 4096
"""Above this many trips of indexed loops, overlap is judged by extents (refusing more)."""


def check(config: ArrayConfig, instructions: Sequence[Instruction]) -> None:
    """Raise ProgramError if this configuration cannot run the program; the message names
    instruction and reason."""
    _need(
        instructions and isinstance(instructions[-1], Halt),
        "the program does not end in HALT: add Halt() as its last instruction",
    )
    total = sum(map(rows_of, instructions))
    _need(
        total <= config.program_rows,
        f"the program takes {total} program rows; this machine has {config.program_rows}: "
        "use fewer layers or phases, or a configuration with more program_rows",
    )
    loops: list[tuple[int, Loop]] = []
    for i, instruction in enumerate(instructions):
        try:
            check_fields(config, instruction)
            if isinstance(instruction, Loop):
                _need(
                    len(loops) < config.loop_depth,
                    f"{len(loops) + 1} LOOPs nested; this machine can nest {config.loop_depth} "
                    "(loop_depth)",
                )
                loops.append((i, instruction))
            elif isinstance(instruction, Next):
                _need(loops, "NEXT without a LOOP")
                start, loop = loops.pop()
                _need(
                    not loop.until
                    or any(isinstance(x, Mac) and x.judge for x in instructions[start:i]),
                    f"the LOOP at instruction {start} has until, but no MAC in its body judges: "
                    "set judge in one of them",
                )
            elif type(instruction) in _PLACES:
                _PLACES[type(instruction)](config, instruction, [loop for _, loop in loops])
        except ProgramError as error:
            raise ProgramError(f"instruction {i} ({describe(instruction)}): {error}") from None
    if loops:
        raise ProgramError(f"the LOOP at instruction {loops[-1][0]} has no NEXT")
    _check_drive_terms(config, instructions)
    _check_samples(config, instructions)


def _need(ok: object, message: str) -> None:
    if not ok:
        raise ProgramError(message)


def _need_feature(config: ArrayConfig, kind: str, value: object, what: str) -> None:
    """Refuse what is not among the configuration's capabilities of that kind."""
    if value not in getattr(config, kind):
        numbers = [
            f.number for name, f in FEATURES.items() if value in (name, *getattr(f, kind, ()))
        ]
        zero = " and ".join(f"{number} = {getattr(config, number)}" for number in numbers)
        raise ProgramError(f"{what}: this machine was built without it ({zero})")


def _within(name: str, value: int, low: int, high: int) -> None:
    _need(low <= value <= high, f"{name} = {value}: must be {low} to {high}")


def check_fields(config: ArrayConfig, instruction: Instruction) -> None:
    """Raise ProgramError if a field's value is impossible on this configuration.

    What depends on the rest of the program (places in memory, loops) is not looked at.
    """
    if type(instruction) in _FIELDS:
        _FIELDS[type(instruction)](config, instruction)


def _loop_fields(config: ArrayConfig, loop: Loop) -> None:
    _need(
        isinstance(loop.count, int) and 1 <= loop.count <= 1 << LOOP_COUNT_BITS,
        f"count = {loop.count!r}: must be 1 to {1 << LOOP_COUNT_BITS} trips, since every LOOP must "
        "be bounded",
    )
    _within("step", loop.step, -(1 << 15), (1 << 15) - 1)


def _index_values(select: int, loops: Sequence[Loop]) -> range:
    """The values that X[select] takes inside these open loops."""
    _within("index select", select, 0, INDEX_SELECTS - 1)
    if select == 0:
        return range(1)
    _need(select <= len(loops), f"index of LOOP {select}: only {len(loops)} LOOPs are open here")
    loop = loops[select - 1]
    return range(0, loop.count * loop.step, loop.step) if loop.step else range(1)


def _terms(levels: Sequence[MacLevel | LearnLevel], name: str) -> list[tuple[int, int]]:
    """Count and stride of each level, for one address."""
    return [(level.count, getattr(level, name)) for level in levels]


def _extent(base: int, terms: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Lowest and highest address of an affine nest of (count, stride)."""
    spans = [(count - 1) * stride for count, stride in terms]
    return base + sum(min(0, s) for s in spans), base + sum(max(0, s) for s in spans)


def _addresses(base: int, terms: Sequence[tuple[int, int]]) -> list[int]:
    """All addresses of a nest, in execution order; terms outermost first."""
    result = [base]
    for count, stride in terms:
        result = [a + trip * stride for a in result for trip in range(count)]
    return result


def _check_range(
    name: str, base: int, terms: Sequence[tuple[int, int]], index: range, depth: int, unit: str
) -> None:
    low, high = _extent(base, terms)
    low, high = low + min(index[0], index[-1]), high + max(index[0], index[-1])
    _need(
        low >= 0 and high < depth,
        f"{name} reaches {unit} {low} to {high}; this machine has 0 to {depth - 1}",
    )


def _nest_fields(config: ArrayConfig, instruction: Mac | Learn) -> None:
    levels = nest_levels(instruction)
    _need(
        len(levels) <= config.levels,
        f"{len(levels)} loop levels; this machine's instructions have at most {config.levels}",
    )
    for level in levels:
        _within("level count", level.count, 1, 1 << LEVEL_COUNT_BITS)
    _need_feature(config, "signs", instruction.sign, f"sign {instruction.sign.name}")
    if instruction.drain is not None:
        _need_feature(config, "features", "drains", f"drain = {instruction.drain}")
        _within("drain", instruction.drain, 0, (1 << DRAIN_BITS) - 1)


def _mac_fields(config: ArrayConfig, mac: Mac) -> None:
    _nest_fields(config, mac)
    for level in mac.inner:
        for name in ("dst", "drive", "gate"):
            _need(getattr(level, name) == 0, f"an inner level moves {name}: only outer levels may")
    _within("shift", mac.shift, 0, config.acc_bits - 1)
    _need(
        0 <= mac.up <= min(mac.shift, config.state_bits - 1),
        f"up = {mac.up}: must be 0 to {config.state_bits - 1} and at most shift ({mac.shift})",
    )
    _within("one", mac.one, 0, config.state_bits - 2)
    _need(
        mac.activation not in (Activation.CLIP01, Activation.CLIP11) or mac.up <= mac.one,
        f"up = {mac.up}: {mac.activation.name} clips at 2**one and needs up <= one ({mac.one}), "
        "else no multiple of 2**up is 2**one",
    )
    _within("step", mac.step, 0, 15)
    _within("tol", mac.tol, 0, (1 << (config.state_bits - 1)) - 1)
    _within("tail", mac.tail, 0, config.p)
    if mac.tail:
        _within("tail_level", mac.tail_level, 0, max(0, len(mac.outer) - 1))
    _need_feature(config, "activations", mac.activation, f"activation {mac.activation.name}")
    _need(not mac.fresh or mac.judge, "fresh without judge: set judge, or leave fresh out")
    if mac.to_drive:
        _need(
            mac.activation is Activation.LINEAR
            and mac.gating is Gating.NONE
            and not (mac.step or mac.judge or mac.shift or mac.up or mac.one),
            "to_drive writes the accumulator as it is: activation, gating, step, judge, shift, up "
            "and one must keep their defaults",
        )
    if mac.walk:
        _need_feature(config, "mac_flags", "walk", "walk")
        _need(
            [replace(level, count=1) for level in mac.inner] == [MacLevel(count=1, tile=1, src=1)],
            "walk needs one inner level, with strides of 1 of tile and src and no others",
        )
        _need(
            not (mac.src or mac.src_x or any(level.src for level in mac.outer)),
            "walk takes its source from the sample: src, src_x and outer strides of src must be 0",
        )
        _need(
            not mac.transposed and mac.activation is not Activation.RANDOM,
            "walk excludes transposed, and activation RANDOM, which has no sums",
        )
    if mac.both:
        _need_feature(config, "mac_flags", "both", "both")
        _need(
            not mac.to_drive and mac.activation is not Activation.RANDOM,
            "both excludes to_drive, which writes sums alone, and RANDOM, which has none",
        )
    _need(
        mac.uses_drive or not mac.drive_x,
        "drive_x without from_drive: set from_drive, or leave drive_x out",
    )
    terms = trips(mac.inner) * config.p
    _need(
        terms <= config.max_terms,
        f"{terms} products in one accumulation; this machine's accumulators are built for "
        f"{config.max_terms} (max_terms)",
    )


def _mac_places(config: ArrayConfig, mac: Mac, loops: Sequence[Loop]) -> None:
    states, drives = (config.state_depth, "state group"), (config.drive_depth, "drive group")
    into = drives if mac.to_drive else states
    every, dst_terms = (*mac.outer, *mac.inner), _terms(mac.outer, "dst")
    _check_range("dst", mac.dst, dst_terms, _index_values(mac.dst_x, loops), *into)
    written = _addresses(mac.dst, dst_terms)
    _need(
        len(set(written)) == len(written),
        "dst meets a group twice: every outer level needs a stride of dst of its own",
    )
    if mac.both:
        beside = _addresses(mac.drive, _terms(mac.outer, "drive"))
        _need(
            len(set(beside)) == len(beside),
            "both: drive meets a group twice: every outer level needs a stride of drive of its own",
        )
    for name, used, base, terms, select, memory in (
        ("tile", True, mac.tile, _terms(every, "tile"), mac.tile_x, (config.weight_depth, "tile")),
        ("src", True, mac.src, _terms(every, "src"), mac.src_x, states),
        ("old", mac.reads_old, mac.old_base, dst_terms, mac.dst_x, states),
        ("gate", mac.reads_gate, mac.gate, _terms(mac.outer, "gate"), mac.gate_x, states),
        ("drive", mac.uses_drive, mac.drive, _terms(mac.outer, "drive"), mac.drive_x, drives),
    ):
        index = _index_values(select, loops)
        if used:
            _check_range(name, base, terms, index, *memory)
            if memory == into:
                _check_overlap(name, base, terms, select, mac, dst_terms, written, loops)


def _check_overlap(
    name: str,
    base: int,
    terms: Sequence[tuple[int, int]],
    select: int,
    mac: Mac,
    dst_terms: Sequence[tuple[int, int]],
    written: Sequence[int],
    loops: Sequence[Loop],
) -> None:
    """Refuse a read of a group after the same instruction wrote it."""
    message = (
        f"{name} reads a group that the same instruction has written: "
        "use another destination, or order the groups so that each is read before it is written"
    )
    # How far apart the two indices may be, one entry per combination of loop trips.
    if select == mac.dst_x:
        shifts: set[int] = {0}
    else:
        a, b = _index_values(select, loops), _index_values(mac.dst_x, loops)
        if len(a) * len(b) > INDEX_COMBINATIONS:
            low, high = _extent(base, terms)
            dst_low, dst_high = _extent(mac.dst, dst_terms)
            apart = low + min(a) > dst_high + max(b) or high + max(a) < dst_low + min(b)
            _need(apart, message + " (judged by extents: the loops have too many trips)")
            return
        shifts = {x - y for x, y in product(a, b)}
    read = _addresses(base, terms)
    per_group = len(read) // len(written)
    when = {group: i for i, group in enumerate(written)}
    for shift in shifts:
        low, high = min(read) + shift, max(read) + shift
        if low > max(written) or high < min(written):
            continue
        for i, group in enumerate(read):
            _need(when.get(group + shift, len(read)) >= i // per_group, message)


def _learn_fields(config: ArrayConfig, learn: Learn) -> None:
    _nest_fields(config, learn)
    for level in learn.inner:
        _need(level.tile == 0, "an inner level moves the tile: only outer levels may")
    terms = trips(learn.inner)
    _need(
        terms <= config.learn_terms,
        f"{terms} terms per tile; this machine's cells add up at most {config.learn_terms} "
        "(learn_terms)",
    )
    _within("position", learn.position, 0, 1)
    for flag in LEARN_FLAGS:
        if getattr(learn, flag):
            _need_feature(config, "learn_flags", flag, flag)
    if learn.walk:
        _need_feature(config, "features", "samples", "walk")
        last = [replace(level, count=1) for level in learn.outer[-1:]]
        _need(
            last == [LearnLevel(count=1, tile=1, col=1)],
            "walk needs an innermost outer level with strides of 1 of tile and col and no others",
        )
        _need(
            not (learn.inner or learn.col or learn.col_x or any(v.col for v in learn.outer[:-1])),
            "walk takes its column plane from the sample: inner levels, col, col_x and other "
            "strides of col must be left out",
        )
        changing = ("stochastic", "replace", "bound", "decay", "integral")
        _need(
            not any(getattr(learn, flag) for flag in changing),
            f"walk excludes {', '.join(changing)}: they change weights that lists leave out",
        )
    _need(
        not (learn.decay and learn.replace),
        "decay with replace: nothing is left to decay; use one of them",
    )
    if learn.integral:
        _need(
            not (learn.decay or learn.replace or learn.stochastic or learn.position),
            "integral excludes decay, replace, stochastic and position 1",
        )
        _within("threshold", learn.threshold, 0, (1 << config.weight_bits) - 1)
    else:
        _need(
            learn.threshold == 0, "threshold without integral: set integral, or leave threshold out"
        )


def _learn_places(config: ArrayConfig, learn: Learn, loops: Sequence[Loop]) -> None:
    every, tiles = (*learn.outer, *learn.inner), _terms(learn.outer, "tile")
    for name, terms, select, depth, unit in (
        ("tile", tiles, learn.tile_x, config.weight_depth - learn.integral, "tile"),
        ("col", _terms(every, "col"), learn.col_x, config.state_depth, "state group"),
        ("row", _terms(every, "row"), learn.row_x, config.state_depth, "state group"),
    ):
        _check_range(name, getattr(learn, name), terms, _index_values(select, loops), depth, unit)
    met = _addresses(learn.tile, tiles)
    if learn.integral:
        met += [tile + 1 for tile in met]
    _need(
        len(set(met)) == len(met),
        "two outer trips meet the same tile: every outer level needs a stride of its own",
    )


def _wait_fields(config: ArrayConfig, wait: Wait) -> None:
    _within("count", wait.count, 1, min((1 << 16) - 1, config.state_depth * config.p))
    if wait.ahead:
        _need_feature(config, "features", "samples", "ahead")
        _need(wait.pack is not Pack.WORD, "ahead excludes pack WORD: entries have at most 8 bits")
        rows, most = -(-wait.values // config.p), config.sample_buffer // 2
        _need(
            rows <= most,
            f"a sample of {rows} groups; this machine's buffer takes at most {most}, half of its "
            f"rows (sample_buffer = {config.sample_buffer}): leave ahead out",
        )
        _within("outputs", wait.outputs, 0, min(256, config.state_depth * config.p))
        high = (1 << (config.state_bits - 1)) - 1
        _within("low", wait.low, -high - 1, high)
        _within("high", wait.high, -high - 1, high)
    else:
        _need(
            not (wait.bias or wait.dense or wait.outputs or wait.low or wait.high),
            "bias, dense, outputs, low and high belong to a sample of the buffer: set ahead, or "
            "leave them out",
        )
    if wait.pack is Pack.WORD:
        _need(wait.shift == 0, f"shift = {wait.shift}: must be 0 with pack WORD")
        return
    room = config.state_bits - 1 - (wait.pack.bits - wait.signed) - wait.bias
    _need(room >= 0, f"pack {wait.pack.name} without signed: a state has {config.state_bits} bits")
    _within("shift", wait.shift, 0, room)


def _wait_places(config: ArrayConfig, wait: Wait, loops: Sequence[Loop]) -> None:
    count = wait.outputs if wait.ahead else wait.count
    if not count:
        return
    groups = [((count + config.p - 1) // config.p, 1)]
    index = _index_values(wait.dst_x, loops)
    _check_range("dst", wait.dst, groups, index, config.state_depth, "state group")


def _emit_memory(config: ArrayConfig, kind: EmitKind) -> tuple[int, int, str]:
    """What an EMIT of that kind reads: elements per address, addresses, name of an address."""
    if kind is EmitKind.COUNTERS:
        return 1, len(registers(config)), "register"
    return config.p, config.drive_depth if kind is EmitKind.DRIVE else config.state_depth, "group"


def _emit_fields(config: ArrayConfig, emit: Emit) -> None:
    _need_feature(config, "emit_kinds", emit.kind, f"kind {emit.kind.name}")
    per_address, depth, _ = _emit_memory(config, emit.kind)
    _within("count", emit.count, 1, min((1 << 16) - 1, depth * per_address))
    _need(
        emit_bytes(config, emit) < 1 << 16,
        f"{emit_bytes(config, emit)} bytes; a record holds at most 65535: emit the plane in parts",
    )


def _emit_places(config: ArrayConfig, emit: Emit, loops: Sequence[Loop]) -> None:
    per_address, depth, unit = _emit_memory(config, emit.kind)
    index = _index_values(emit.base_x, loops)
    size = (emit.count + per_address - 1) // per_address
    _check_range("base", emit.base, [(size, 1)], index, depth, unit)
    if emit.kind is EmitKind.COUNTERS:
        mine = {Register.EMIT_CYCLES, Register.EMIT_STALLS}
        if not config.kind_counters:
            mine.add(Register.MAC_CYCLES)
        _need(
            not mine.intersection(emit.base + x + i for x in index for i in range(size)),
            "an EMIT cannot send the registers that count its own cycles: leave out "
            + ", ".join(register.name for register in sorted(mine)),
        )


def _check_samples(config: ArrayConfig, instructions: Sequence[Instruction]) -> None:
    """Refuse WAITs that do not go together, and walks that miss a part of the sample."""
    waits = [(i, x) for i, x in enumerate(instructions) if isinstance(x, Wait)]
    walks = [(i, x) for i, x in enumerate(instructions) if getattr(x, "walk", False)]
    ahead = [x for _, x in waits if x.ahead]
    for i, wait in waits if ahead else ():
        own = {"dst": 0, "dst_x": 0, "tick": False, "low": 0, "high": 0}
        _need(
            replace(wait, **own) == replace(ahead[0], **own),
            f"instruction {i} ({describe(wait)}): a program's WAITs with ahead have one format, "
            "and no others are beside them, since a loader takes the bytes before they run",
        )
    for i, nest in walks:
        assert isinstance(nest, Mac | Learn)
        groups = nest.inner[0].count if isinstance(nest, Mac) else nest.outer[-1].count
        _need(ahead, f"instruction {i} ({describe(nest)}): walk without a WAIT that is ahead")
        _need(
            groups == -(-ahead[0].values // config.p),
            f"instruction {i} ({describe(nest)}): walks {groups} groups, but a sample has "
            f"{-(-ahead[0].values // config.p)}",
        )


_FIELDS = {
    Loop: _loop_fields,
    Mac: _mac_fields,
    Learn: _learn_fields,
    Wait: _wait_fields,
    Emit: _emit_fields,
}
_PLACES = {Mac: _mac_places, Learn: _learn_places, Wait: _wait_places, Emit: _emit_places}


def _check_drive_terms(config: ArrayConfig, instructions: Sequence[Instruction]) -> None:
    """Bound the products that drives gather over the whole program, loops' trips included.

    A drive counts as empty when a run begins: earlier runs and the host must bound what they leave.
    """
    terms: dict[int, int] = {}
    ends = loop_ends(instructions)

    def run(start: int, end: int, loops: list[Loop]) -> None:
        i = start
        while i < end:
            instruction = instructions[i]
            if isinstance(instruction, Mac):
                mac(instruction, loops)
            elif isinstance(instruction, Loop):
                repeat(i + 1, ends[i], instruction, loops)
                i = ends[i]
            i += 1

    def repeat(start: int, end: int, loop: Loop, loops: list[Loop]) -> None:
        # A drive that is read before the same trip writes it has gathered from the second trip on:
        # what the third adds, others add, too.
        before: dict[int, int] = {}
        for _ in range(min(loop.count, 3)):
            before = dict(terms)
            run(start, end, [*loops, loop])
        for group, count in terms.items():
            growth = count - before.get(group, 0)
            terms[group] = count + max(0, growth) * max(0, loop.count - 3)
            limit(group)

    def limit(group: int) -> None:
        _need(
            terms[group] <= config.max_terms,
            f"drive group {group} gathers {terms[group]} products; this machine's "
            f"accumulators are built for {config.max_terms} (max_terms)",
        )

    def mac(instruction: Mac, loops: list[Loop]) -> None:
        outer = instruction.outer

        def groups(name: str) -> list[int]:
            index = _index_values(getattr(instruction, f"{name}_x"), loops)
            reached = _addresses(getattr(instruction, name), _terms(outer, name))
            if len(index) * len(reached) > 1 << 16:
                return list(range(config.drive_depth))
            return sorted({g + x for g in reached for x in index})

        sources = groups("drive") if instruction.from_drive else []
        most = max((terms.get(s, 0) for s in sources), default=0)
        new = trips(instruction.inner) * config.p
        if not instruction.to_drive:
            _need(
                most + new <= config.max_terms,
                f"{most + new} products with the drive's; this machine's accumulators are built "
                f"for {config.max_terms} (max_terms)",
            )
            if not instruction.both:
                return
        into = "drive" if instruction.both else "dst"
        indexed = instruction.drive_x or getattr(instruction, f"{into}_x")
        if instruction.from_drive and not indexed:
            # Pair by pair, in execution order.
            a = _addresses(instruction.drive, _terms(outer, "drive"))
            b = _addresses(getattr(instruction, into), _terms(outer, into))
            update = {d: terms.get(s, 0) + new for s, d in zip(a, b, strict=True)}
        else:
            update = dict.fromkeys(groups(into), most + new)
        terms.update(update)
        for group in update:
            limit(group)

    run(0, len(instructions), [])
