"""The machine's loop nests and its sequencer, compiled.

Written from the contract (docs/isa.md), whose names are used throughout; the columns of ``m``, an
instruction, and of trips are those of `tables`. Integers are int64, in which every sum is exact
or taken modulo 2**64 before it wraps at ``acc_bits`` (see `machine.fits`).

Zeros are passed over: a product with a source of 0 adds nothing, and a LEARN whose rounded
product is 0 changes nothing unless it also decays, replaces or bounds.

The present sample is held as the words that its lists leave, ``Z``, laid out as those of S, and the
row of the list that each is in, ``rows``; a walk is computed as the dense nest over them.

S and D are flat, in neuron order. W is flat, too: cell (row, column) of a tile is at ``places[tile]
= (start, row pitch, column pitch)``, start + row * row pitch + column * column pitch; `layout` puts
tiles that programs use as a matrix together as one.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba import njit, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.config import CPU_FEATURES  # pyright: ignore[reportAttributeAccessIssue]
from numba.extending import intrinsic

from relaxon_isa import (
    COUNTER_BITS,
    Activation,
    EmitKind,
    Gating,
    Judge,
    Opcode,
    Pack,
    Register,
    Sign,
    Skip,
    Space,
)

from .status import Status
from .tables import VECTOR

__all__ = ["run"]

DONE = 0
HALTED, STARVED, FULL, PAUSED = map(
    int, (Status.HALTED, Status.STARVED, Status.FULL, Status.PAUSED)
)
DECODE, ADDRESS, DEPTH, UNOPENED = map(
    int, (Status.DECODE, Status.ADDRESS, Status.DEPTH, Status.UNOPENED)
)
HALT, MAC, LEARN, LOOP, NEXT, WAIT, EMIT = map(
    int, (Opcode.HALT, Opcode.MAC, Opcode.LEARN, Opcode.LOOP, Opcode.NEXT, Opcode.WAIT, Opcode.EMIT)
)
MINUS, RANDOM_SIGN = int(Sign.MINUS), int(Sign.RANDOM)
CLIP01, CLIP11, RELU, TABLE, RANDOM = map(
    int,
    (
        Activation.CLIP01,
        Activation.CLIP11,
        Activation.RELU,
        Activation.TABLE,
        Activation.RANDOM,
    ),
)
IN01, IN11 = int(Gating.IN01), int(Gating.IN11)
CHANGE = int(Judge.CHANGE)
IF_FLAG, UNLESS_FLAG = int(Skip.IF_FLAG), int(Skip.UNLESS_FLAG)
WORD = int(Pack.WORD)
DRIVE, ARGMAX, COUNTERS, ANSWER = map(
    int, (EmitKind.DRIVE, EmitKind.ARGMAX, EmitKind.COUNTERS, EmitKind.ANSWER)
)
UPDATE_KEY, SAMPLE_KEY = int(Register.UPDATE_KEY), int(Register.SAMPLE_KEY)
SWEEPS, SAMPLES, WRONG = int(Register.SWEEPS), int(Register.SAMPLES), int(Register.WRONG)
STATE_SATURATIONS = int(Register.STATE_SATURATIONS)
WEIGHT_SATURATIONS = int(Register.WEIGHT_SATURATIONS)
COUNTER_BYTES = COUNTER_BITS // 8
STATE_SPACE, DRIVE_SPACE, REGISTER_SPACE = map(int, (Space.STATE, Space.DRIVE, Space.REGISTER))
TILE_SPACE = -1
NOWHERE = 1 << 40
"""No trip adds this to an address."""
BEYOND = np.int64(1) << 62
"""Beyond any word, and any that a LINEAR activation shifts up."""
M32 = 0xFFFFFFFF


# Words ----------------------------------------------------------------------------------------


@intrinsic
def _down(typingctx, word, places):

    def generate(context, builder, signature, arguments):
        return builder.ashr(*arguments)

    return types.int32(types.int32, types.int32), generate


down: Any = _down
"""A word of 32 bits, shifted right by 0 to 31 places. Python's >> has 64 bits in numba."""


# Chance ---------------------------------------------------------------------------------------


@njit
def mix(x):
    x ^= (x << 13) & M32
    x ^= x >> 17
    return x ^ ((x << 5) & M32)


@njit
def rotl(x, n):
    return ((x << n) | (x >> (32 - n))) & M32


@njit
def hash_words(key, a):
    """(U, V) = hash(key, a)"""
    x = mix((key + (a & 0xFFFF) * 0x00010001) & M32)
    u = mix((x + rotl(key, 16)) & M32)
    return u, mix((u + 0x9E3779B9) & M32)


@njit(forceinline=True)
def missing(cpu, space, address, depth):
    """Whether a memory lacks this address, which is then noted."""
    if address < depth:
        return False
    cpu.space, cpu.address = space, address
    return True


# Sums of lines -------------------------------------------------------------------------------
#
# What a source meets is a line of lanes, neighbours in memory. Loops over few lanes do not become
# vectors by themselves, so that these say what they are.


@intrinsic
def _list_vector(typingctx, words, at, count, sign, place, step, places, values, n):

    def generate(context, builder, signature, arguments):
        words, places, values = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data
            for i in (0, 6, 7)
        )
        _, at, count, sign, place, step, _, _, n = arguments
        word = ir.IntType(32)
        vector, bits = ir.VectorType(word, VECTOR), ir.VectorType(ir.IntType(1), VECTOR)
        nothing, first = ir.Constant(vector, None), ir.Constant(word, 0)

        def every(value):
            return builder.shuffle_vector(
                builder.insert_element(nothing, value, first), nothing, nothing
            )

        found = builder.bitcast(builder.gep(words, [at]), vector.as_pointer())
        found = builder.load(found)
        found.align = 4
        found = builder.mul(found, every(sign))
        steps = ir.Constant(vector, list(range(VECTOR)))
        some = builder.and_(
            builder.icmp_signed("!=", found, nothing),
            builder.icmp_signed("<", steps, every(builder.trunc(count, word))),
        )
        lines = builder.add(every(place), builder.mul(steps, every(step)))
        kind = ir.FunctionType(vector, [vector, bits, vector])
        name = f"llvm.experimental.vector.compress.v{VECTOR}i32"
        compress = cgutils.get_or_insert_function(builder.module, kind, name)
        for listed, to in ((lines, places), (found, values)):
            to = builder.bitcast(builder.gep(to, [n]), vector.as_pointer())
            builder.store(builder.call(compress, [listed, some, nothing]), to).align = 4
        count = builder.ctpop(builder.bitcast(some, ir.IntType(VECTOR)))
        return builder.add(n, builder.zext(count, n.type))

    return types.int64(words, at, count, sign, place, step, places, values, n), generate


list_vector: Any = _list_vector
FEATURES = get_host_cpu_features() if CPU_FEATURES is None else CPU_FEATURES
COMPRESSES = "+avx512f" in FEATURES and llvm_version_info >= (19,)
"""Whether the processor that code is for closes the gaps of a vector, which elsewhere takes longer
than a loop."""


@njit
def list_words(words, at, count, sign, place, step, places, values, n):
    """Append to a list of ``n`` what is not 0 of ``count`` words from ``at`` on, times ``sign``:
    its place, the first word's being ``place``, the next one's ``step`` more, and its value.
    Returns how many are listed."""
    at, n, e = np.int64(at), np.int64(n), np.int64(0)
    sign, step = np.int32(sign), np.int32(step)
    if COMPRESSES:
        while e < count:
            first = np.int32(place + e * step)
            n = list_vector(words, at + e, count - e, sign, first, step, places, values, n)
            e += VECTOR
        return n
    flat, at, n = words.reshape(-1), np.uint64(at), np.uint64(n)
    for e in range(np.uint64(count)):
        word = flat[at + e]
        places[n], values[n] = place, word * sign
        n += np.uint64(word != 0)
        place += step
    return np.int64(n)


def _vector_of_sums(lanes):
    """``parts[at : at + lanes]``: the sums, in words of 32 bits, of that part of the lines of cells
    that begin at ``places[first:end]``, times their ``values``."""

    @intrinsic
    def sums(typingctx, cells, places, values, first, end, at, parts):

        def generate(context, builder, signature, arguments):
            cells, places, values, parts = (
                context.make_array(signature.args[i])(context, builder, arguments[i]).data
                for i in (0, 1, 2, 6)
            )
            _, _, _, first, end, at, _ = arguments
            word, place = ir.IntType(32), ir.IntType(64)
            vector = ir.VectorType(word, lanes)
            nothing = ir.Constant(vector, None)
            everywhere = ir.Constant(ir.VectorType(word, lanes), None)
            total = cgutils.alloca_once(builder, vector)
            builder.store(nothing, total)
            one = ir.Constant(place, 1)
            with cgutils.for_range_slice(builder, first, end, one, place) as (j, _):
                start = builder.sext(builder.load(builder.gep(places, [j])), place)
                start = builder.add(start, at)
                line = builder.gep(cells, [start])
                kind = ir.VectorType(line.type.pointee, lanes)
                line = builder.load(builder.bitcast(line, kind.as_pointer()))
                line.align = 2
                if kind != vector:
                    line = builder.sext(line, vector)
                value = builder.load(builder.gep(values, [j]))
                value = builder.insert_element(nothing, value, ir.Constant(word, 0))
                value = builder.shuffle_vector(value, nothing, everywhere)
                more = builder.add(builder.load(total), builder.mul(line, value))
                builder.store(more, total)
            to = builder.bitcast(builder.gep(parts, [at]), vector.as_pointer())
            store = builder.store(builder.load(total), to)
            store.align = 4
            return context.get_dummy_value()

        return types.void(cells, places, values, first, end, at, parts), generate

    return sums


sums_of_64: Any = _vector_of_sums(64)
sums_of_16: Any = _vector_of_sums(VECTOR)


@njit(forceinline=True)
def in_vectors(lanes):
    """Words of the vectors that so many lanes take."""
    return (lanes + VECTOR - 1) // VECTOR * VECTOR


@njit
def sum_lines(cells, places, values, first, end, size, parts):
    """``parts[:size]``: the sums of all listed lines from ``first`` to ``end``, modulo 2**32. What
    is beyond, up to whole vectors, is read and written, too, and means nothing."""
    first, end, at = np.int64(first), np.int64(end), np.int64(0)
    while at + 64 <= size:
        sums_of_64(cells, places, values, first, end, at, parts)
        at += 64
    while at < size:
        sums_of_16(cells, places, values, first, end, at, parts)
        at += VECTOR


# MAC ------------------------------------------------------------------------------------------
#
# Loops over lanes count with unsigned integers, for which numba adds no test for indices from the
# end, so that they become vector instructions. Sources are words of 32 bits: their products with
# weights are then single instructions.


@njit
def list_sources(m, src, first, step, trips, config, cpu, S, places, values):
    """List the sources of an accumulation that are not 0, with the trips' signs, as `list_words`
    does. Returns how many; -1: no such address."""
    p, n, k = config.p, np.int64(0), np.int64(0)
    while k < m.inners:
        trip, run = trips[m.inner_at + k], m.source_line
        group = (src + trip.src) & config.state_mask
        if k % run or group + run > config.state_depth:
            run = 1  # beyond the last group is the first
        if missing(cpu, STATE_SPACE, group, config.state_depth):
            return -1
        place = first + k * p * step
        n = list_words(S, group * p, run * p, trip.sign, place, step, places, values, n)
        k += run
    return n


@njit(forceinline=True)
def gather(m, src, trips, config, cpu, S, tiles, lanes, values, indices):
    """List the sources of an accumulation that are not 0: their trips' steps of the tile, their
    lanes, and their words with the trips' signs. Returns how many; -1: no such address."""
    p = config.p
    n = list_sources(m, src, 0, 1, trips, config, cpu, S, indices, values)
    if n < 0:
        return n
    k, end = 0, np.int32(p)  # of the trip that a source is of
    for j in range(np.uint64(n)):
        while indices[j] >= end:
            k, end = k + 1, end + np.int32(p)
        tiles[j], lanes[j] = trips[m.inner_at + k].tile, indices[j] - end + p
    return n


@njit(forceinline=True)
def gather_all(m, src, trips, config, cpu, S, values):
    """All sources of an accumulation with the trips' signs. Returns 0; -1: no such address."""
    p = np.uint64(config.p)
    for k in range(m.inners):
        trip = trips[m.inner_at + k]
        group = (src + trip.src) & config.state_mask
        if missing(cpu, STATE_SPACE, group, config.state_depth):
            return -1
        at, to = np.uint64(group) * p, np.uint64(k) * p
        sign = trip.sign
        for e in range(p):
            values[to + e] = S[at + e] * sign
    return 0


@njit(forceinline=True)
def is_diagonal(p, start, row_pitch, column_pitch, W):
    """Whether a tile is 0 off its diagonal."""
    some = np.int64(0)
    for row in range(p):
        for column in range(p):
            if row != column:
                some |= W[start + row * row_pitch + column * column_pitch]
    return some == 0


@njit(forceinline=True)
def multiply_diagonal(m, seg, trips, tile, src, config, cpu, S, W, places, acc, values):
    """Sums of a segment whose only tile is diagonal. Returns DONE or ADDRESS."""
    p = np.uint64(config.p)
    start, step = places[tile, 0], places[tile, 1] + places[tile, 2]
    equal = True
    for lane in range(p):
        values[lane] = W[np.uint64(start) + lane * np.uint64(step)]
        equal &= values[lane] == values[0]
    equal &= m.src_line != 0
    groups, size = (1, seg.groups * config.p) if equal else (seg.groups, config.p)
    for g in range(groups):  # all of them at once, where one number multiplies them
        to = np.uint64(g) * p
        for e in range(np.uint64(size)):
            acc[to + e] = 0
        for k in range(m.inners):
            trip = trips[m.inner_at + k]
            group = (src + trips[m.outer_at + seg.first + g].src + trip.src) & config.state_mask
            if missing(cpu, STATE_SPACE, group + size // config.p - 1, config.state_depth):
                return ADDRESS
            at, minus = np.uint64(group) * p, np.int64(-(trip.sign < 0))
            if equal:
                for e in range(np.uint64(size)):
                    acc[e] += ((np.int64(S[at + e]) * np.int64(values[0])) ^ minus) - minus
            else:
                for e in range(p):
                    acc[to + e] += ((np.int64(S[at + e]) * np.int64(values[e])) ^ minus) - minus
    return DONE


@njit(forceinline=True)
def multiply(m, first, groups, trips, n, base, config, cpu, W, places, lists, acc, to):
    """Sums of groups whose tiles lie together, over ``n`` listed sources, to ``acc`` from ``to``
    on. Returns DONE or ADDRESS."""
    tiles, lanes, values, short, starts, words = lists
    along, across = (2, 1) if m.transposed else (1, 2)
    size, to = np.uint64(groups * config.p), np.uint64(to)
    base += trips[m.outer_at + first].tile
    for e in range(size):
        acc[to + e] = 0
    if not m.lines or not m.short:
        for j in range(n):
            tile = (base + tiles[j]) & config.tile_mask
            if missing(cpu, TILE_SPACE, tile, config.weight_depth):
                return ADDRESS
            start = np.uint64(places[tile, 0] + lanes[j] * places[tile, across])
            pitch, value = np.uint64(places[tile, along]), np.int64(values[j])
            for e in range(size):
                acc[to + e] += np.int64(W[start + e * pitch]) * value
        return DONE
    for j in range(n):
        tile = (base + tiles[j]) & config.tile_mask
        starts[j] = places[tile, 0] + lanes[j] * places[tile, across]
    zeros = trailing_zeros(values, n)
    end = 0
    while end < n:  # as many sources at a time as 32 bits hold the sums of
        start, left = end, np.int64(1) << (32 - config.weight_bits)
        while end < n:
            word = np.int64(values[end]) >> zeros
            left -= abs(word)
            if left <= 0:
                break
            words[end] = word
            end += 1
        sum_lines(W, starts, words, start, end, size, short)
        for e in range(size):
            acc[to + e] += np.int64(short[e]) << zeros
    return DONE


@njit(forceinline=True)
def trailing_zeros(values, n):
    """How many last bits are 0 in all of the first ``n`` values."""
    some = np.int64(0)
    for j in range(np.uint64(n)):
        some |= np.int64(values[j])
    zeros = 0
    while some and not some & 1:
        some >>= 1
        zeros += 1
    return zeros


@njit(forceinline=True)
def multiply_dots(m, first, count, trips, base, config, cpu, W, places, values, acc, to):
    """Sums of ``count`` lanes over all sources, whose weights lie together, likewise."""
    p, run = config.p, m.source_run
    along = 2 if m.transposed else 1
    size = np.uint64(run * p)
    for k in range(0, m.inners, run):
        source = np.uint64(k * p)
        for n in range(0, count, p):
            outer = trips[m.outer_at + first + n // p]
            tile = (base + outer.tile + trips[m.inner_at + k].tile) & config.tile_mask
            if missing(cpu, TILE_SPACE, tile, config.weight_depth):
                return ADDRESS
            start, pitch = np.uint64(places[tile, 0]), np.uint64(places[tile, along])
            for lane in range(min(p, count - n)):
                total = np.int64(0)
                for e in range(size):
                    total += np.int64(W[start + e]) * np.int64(values[source + e])
                start += pitch
                acc[to + n + lane] = total + (acc[to + n + lane] if k else 0)
    return DONE


# A panel: the tiles that every segment multiplies, in 16 bits, a line of lanes a source, whole
# vectors. It is kept until a LEARN.


@njit
def fill_panel(m, groups, trips, base, config, W, places, panel):
    """Put the tiles of the first segment's groups into the panel. Returns the largest size of their
    cells."""
    p, most, line = config.p, np.int32(0), in_vectors(groups * config.p)
    along, across = (2, 1) if m.transposed else (1, 2)
    for k in range(m.inners):
        for g in range(groups):
            tile = base + trips[m.outer_at + g].tile + trips[m.inner_at + k].tile
            tile &= config.tile_mask
            for source in range(p):
                start = np.uint64(places[tile, 0] + source * places[tile, across])
                pitch = np.uint64(places[tile, along])
                to = np.uint64(m.panel_at + (k * p + source) * line + g * p)
                for e in range(np.uint64(p)):
                    w = W[start + e * pitch]
                    most = max(most, abs(w))
                    panel[to + e] = w
    return np.int64(most)


@njit
def multiply_panel(m, src, line, weight, trips, config, cpu, S, panel, lists, acc):
    """Sums of the lanes of a panel's lines; ``weight`` is the largest size of its cells. Returns
    DONE or ADDRESS."""
    lines, values, short = lists
    n = list_sources(m, src, m.panel_at, line, trips, config, cpu, S, lines, values)
    if n < 0:
        return ADDRESS
    total = np.uint32(0)
    for j in range(np.uint64(n)):  # up to 2**16 of 16 bits (`layout`)
        total = np.uint32(total + np.uint32(abs(np.int32(values[j]))))
    if weight * np.int64(total) <= 0x7FFFFFFF:
        sum_lines(panel, lines, values, 0, n, line, short)
        for e in range(np.uint64(line)):
            acc[e] = np.int64(short[e])
        return DONE
    for e in range(np.uint64(line)):
        acc[e] = 0
    start = 0
    while start < n:  # as many sources at a time as 32 bits hold the sums of
        end, left = start, np.int64(0x7FFFFFFF)
        while end < n:
            left -= weight * abs(np.int64(values[end]))
            if left < 0:
                break
            end += 1
        sum_lines(panel, lines, values, start, end, line, short)
        for e in range(np.uint64(line)):
            acc[e] += np.int64(short[e])
        start = end
    return DONE


@njit(forceinline=True)
def mac(m, trips, segments, x, config, cpu, S, D, W, places, Z, table, registers, scratch):
    """One MAC, segment by segment (`tables.SEGMENT`)."""
    acc, tiles, lanes, values, _, _, marks, short, panel, stamps, starts, indices = scratch
    p = config.p
    source = Z if m.walk else S
    if m.judge and m.fresh:
        cpu.flag = 1
    tile_base, src_base = m.tile + x[m.tile_x], m.src + x[m.src_x]
    dst_base, old_base = m.dst + x[m.dst_x], m.old + x[m.dst_x]
    gate_base, drive_base = m.gate + x[m.gate_x], m.drive + x[m.drive_x]
    negative = m.sign == MINUS or (m.sign == RANDOM_SIGN and registers[SAMPLE_KEY] & 1)
    random = m.activation == RANDOM and not m.to_drive  # tiles and sources are ignored
    wrap = 64 - config.acc_bits
    diagonal, tile, weight = False, tile_base & config.tile_mask, np.int64(0)
    if m.one_tile and not random:
        if missing(cpu, TILE_SPACE, tile, config.weight_depth):
            return ADDRESS
        diagonal = is_diagonal(p, places[tile, 0], places[tile, 1], places[tile, 2], W)
    if m.panel and not (diagonal or random):
        stamp = stamps[m.panel]
        if stamp[0] != marks[config.weight_depth]:
            stamp[0], stamp[1] = (
                marks[config.weight_depth],
                fill_panel(
                    m, segments[m.segment_at].groups, trips, tile_base, config, W, places, panel
                ),
            )
        weight = stamp[1]
    n, gathered, status = 0, NOWHERE, DONE
    for s in range(m.segments):
        seg = segments[m.segment_at + s]
        trip = trips[m.outer_at + seg.first]
        used = np.uint64(seg.lanes)
        whole = np.uint64(in_vectors(seg.lanes))  # what is beyond the lanes means nothing
        summed = random
        if diagonal:
            status = multiply_diagonal(
                m, seg, trips, tile, src_base, config, cpu, source, W, places, acc, values
            )
            summed = True
        elif m.panel:
            status = multiply_panel(
                m, src_base + trip.src, in_vectors(seg.groups * p), weight, trips, config, cpu,
                source, panel, (indices, values, short), acc,
            )  # fmt: skip
            summed = True
        if not summed:
            step = seg.groups if seg.wide else 1
            for g in range(0, seg.groups, step):
                src = trips[m.outer_at + seg.first + g].src
                if g and m.one_tile and src == gathered:  # as the group before
                    for e in range(np.uint64(g * p), np.uint64(g * p + p)):
                        acc[e] = acc[e - np.uint64(p)]
                    continue
                if src != gathered:
                    gathered = src
                    if m.source_run:
                        n = gather_all(m, src_base + src, trips, config, cpu, source, values)
                    else:
                        at_src = src_base + src
                        n = gather(
                            m, at_src, trips, config, cpu, source, tiles, lanes, values, indices
                        )
                    if n < 0:
                        return ADDRESS
                if m.source_run:
                    status = multiply_dots(
                        m, seg.first + g, min(step * p, seg.lanes - g * p), trips, tile_base,
                        config, cpu, W, places, values, acc, g * p,
                    )  # fmt: skip
                else:
                    status = multiply(
                        m, seg.first + g, step, trips, n, tile_base, config, cpu, W, places,
                        (tiles, lanes, values, short, starts, indices), acc, g * p,
                    )  # fmt: skip
                if status != DONE:
                    return status
        if status != DONE:
            return status
        minus = np.int64(-(negative != (trip.sign < 0)))
        drive = (drive_base + trip.drive) & config.drive_mask
        if (m.from_drive or m.both) and missing(
            cpu, DRIVE_SPACE, drive + seg.groups - 1, config.drive_depth
        ):
            return ADDRESS
        at = np.uint64(drive * p)
        if m.from_drive:
            for e in range(whole):
                acc[e] = ((D[at + e] + ((acc[e] ^ minus) - minus)) << wrap) >> wrap
        elif not random:
            for e in range(whole):
                acc[e] = (((acc[e] ^ minus) - minus) << wrap) >> wrap
        if m.both:
            for e in range(used):
                D[at + e] = acc[e]
        if m.to_drive:
            dst = (dst_base + trip.dst) & config.drive_mask
            if missing(cpu, DRIVE_SPACE, dst + seg.groups - 1, config.drive_depth):
                return ADDRESS
            at = np.uint64(dst * p)
            for e in range(used):
                D[at + e] = acc[e]
            continue
        dst = (dst_base + trip.dst) & config.state_mask
        old = (old_base + trip.dst) & config.state_mask if m.reads_old else dst
        gate = (gate_base + trip.gate) & config.state_mask if m.reads_gate else dst
        if missing(cpu, STATE_SPACE, max(dst, old, gate) + seg.groups - 1, config.state_depth):
            return ADDRESS
        finish(m, seg, dst, old, gate, config, cpu, S, table, registers, acc, short)
        at = np.uint64(dst * p)
        for e in range(used):
            S[at + e] = short[e]
    return DONE


@njit(forceinline=True)
def finish(m, seg, dst, old, gate, config, cpu, S, table, registers, acc, words):
    """A segment's new words from its accumulators; judges them. What a MAC does not ask for is
    done with numbers that change nothing: one pass for all."""
    p, used = config.p, np.uint64(seg.lanes)
    whole = np.uint64(in_vectors(seg.lanes))
    one = np.int64(1) << m.one
    high = (np.int64(1) << (config.state_bits - 1)) - 1
    low, floor, shift, up, counts = -high - 1, -BEYOND, m.shift, m.up, False
    if m.activation == CLIP01:
        low, high = np.int64(0), one
    elif m.activation == CLIP11:
        low, high = -one, one
    elif m.activation == RANDOM:
        shift, up = np.int64(0), np.int64(0)
        for g in range(seg.groups):
            u, _ = hash_words(registers[SAMPLE_KEY], dst + g)
            for lane in range(p):
                acc[g * p + lane] = -one if rotl(u, 3 * lane & 31) & 1 else one
    elif m.activation == TABLE:
        reach, half = np.int64(1) << (config.table_bits - 1), (np.int64(1) << shift) >> 1
        for e in range(used):
            acc[e] = table[min(max((acc[e] + half) >> shift, -reach), reach - 1) + reach]
        shift, up = np.int64(0), np.int64(0)
    else:
        counts = cpu.counting != 0
        if m.activation == RELU:
            floor = np.int64(0)
    half = (np.int64(1) << shift) >> 1
    inside, outside = -BEYOND, BEYOND  # of the gate's word
    if m.reads_gate:
        inside, outside = np.int64(0), one
        if m.gating == IN11:
            inside = -one
        elif m.gating != IN01:
            outside = BEYOND
    step_half = (np.int64(1) << m.step) >> 1
    from_old = np.int64(-1 if m.judge == CHANGE else 0)
    before, beside = np.uint64(old * p), np.uint64(gate * p)
    moved, over = np.int64(0), np.int64(0)
    for e in range(whole):
        counted = -np.int64(e < used)
        u = max((acc[e] + half) >> shift, floor) << up
        v = min(max(u, low), high)
        over |= (u ^ v) & counted
        word, was = np.int64(S[beside + e]), np.int64(S[before + e])
        v = v if inside < word and word < outside else np.int64(0)
        v = was + ((v - was + step_half) >> m.step)
        moved = max(moved, abs(v - (was & from_old)) & counted)
        words[e] = v
    if m.judge and moved > m.tol:
        cpu.flag = 0
    if counts and over:
        for g in range(seg.groups):
            over = np.int64(0)
            for e in range(g * p, min(g * p + p, seg.lanes)):
                u = max((acc[e] + half) >> shift, floor) << up
                over |= u ^ min(max(u, low), high)
            registers[STATE_SATURATIONS] += over != 0


# LEARN ----------------------------------------------------------------------------------------


@njit
def half_away(x, n):
    """Nearest to x / 2**n, halves away from zero; n >= 1."""
    return (x + (np.int64(1) << (n - 1)) + (x >> 63)) >> n


@njit
def gather_terms(m, first, count, by_row, base, trips, config, cpu, S, tiles, lanes, terms, lists):
    """List one side of LEARN's products, a lane an entry: its trip's step of the tile, the lane,
    and its word in every term, with the trip's sign. Returns how many; -1: no such address.

    Left out are lanes that are 0 in every term, if a product of 0 changes nothing.
    """
    indices, values, starts, _ = lists
    p, n, inners = config.p, 0, np.uint64(m.inners)
    of_one = m.inners == 1 and m.idle
    for j in range(count):
        trip = trips[first + j]
        at, sign = base + (trip.row if by_row else trip.col), np.int32(trip.sign)
        for k in range(m.inners):
            inner = trips[m.inner_at + k]
            group = (at + (inner.row if by_row else inner.col)) & config.state_mask
            if missing(cpu, STATE_SPACE, group, config.state_depth):
                return -1
            starts[k] = group * p
        if of_one:
            n = list_words(S, starts[0], p, sign, j * p, 1, indices, values, n)
            continue
        for lane in range(p):
            some, entry = np.int32(0), terms[n]
            for k in range(inners):
                word = S[np.uint64(starts[k] + lane)]
                some |= word
                entry[k] = np.int32(word * sign)
            tiles[n], lanes[n] = trip.tile, lane
            n += some != 0 or not m.idle
    if of_one:
        trip, end = first, np.int32(p)
        for i in range(n):
            while indices[i] >= end:
                trip, end = trip + 1, end + np.int32(p)
            tiles[i], lanes[i] = trips[trip].tile, indices[i] - end + p
            terms[i, 0] = values[i]
    return n


@njit
def spread_terms(m, first, count, by_row, base, sign, trips, config, cpu, S, words):
    """The other side, for every term all lanes of all trips in a line, with their signs, those of
    the terms and ``sign``. Returns a power of two that none is larger than, 0 if all are 0; -1: no
    such address."""
    p, some, any_word = config.p, np.int32(0), np.int32(0)
    for k in range(m.inners):
        for j in range(count):
            trip = trips[first + j]
            step = (
                trip.row + trips[m.inner_at + k].row
                if by_row
                else trip.col + trips[m.inner_at + k].col
            )
            group = (base + step) & config.state_mask
            if missing(cpu, STATE_SPACE, group, config.state_depth):
                return np.int64(-1)
            factor = np.int32(sign * trip.sign * trips[m.inner_at + k].sign)
            at, to, term = np.uint64(group * p), np.uint64(j * p), np.uint64(k)
            for lane in range(np.uint64(p)):
                word = S[at + lane]
                words[term, to + lane] = factor * word
                some |= np.int32(word ^ down(word, np.int32(31)))
                any_word |= word
    most = np.int64(1)
    while most <= some:
        most <<= 1
    return most if any_word else np.int64(0)


@njit
def products(terms, words, most, count, j, size, lists, acc):
    """Sums of an entry's products with the lines of words, over ``count`` terms. ``most``: the
    largest size of a word."""
    lines, values, _, short = lists
    pitch, n, total = words.shape[1], np.int64(count), np.int64(0)
    if count < VECTOR:
        for k in range(count):
            lines[k], values[k] = k * pitch, terms[j, k]
    else:
        n = list_words(terms, j * terms.shape[1], count, 1, 0, pitch, lines, values, 0)
    for i in range(np.uint64(n)):
        total += abs(np.int64(values[i]))
    if total <= 0x7FFFFFFF // max(most, 1):  # 32 bits hold the sums
        sum_lines(words, lines, values, 0, n, size, short)
        for e in range(np.uint64(size)):
            acc[e] = short[e]
        return
    flat = words.reshape(-1)
    for e in range(np.uint64(size)):
        acc[e] = 0
    for i in range(n):
        line, value = np.uint64(lines[i]), np.int64(values[i])
        for e in range(np.uint64(size)):
            acc[e] += np.int64(flat[line + e]) * value


@njit(forceinline=True)
def learn(m, trips, x, config, cpu, S, W, places, Z, rows, registers, scratch):
    """One LEARN: the product of a listed side, zeros left out, with the lines of the other."""
    acc, tiles, lanes, over, terms, words, marks, short, _, _, starts, indices = scratch
    p, lists = config.p, (indices, over, starts, short)
    base, row_base, col_base = m.tile + x[m.tile_x], m.row + x[m.row_x], m.col + x[m.col_x]
    negative = m.sign == MINUS or (m.sign == RANDOM_SIGN and registers[SAMPLE_KEY] & 1)
    sign = -1 if negative else 1
    columns = Z if m.walk else S
    marks[config.weight_depth] += 1  # the number of this LEARN
    if m.wide:  # all tiles lie as one matrix, in lines along ``line``
        by_row = m.wide == 1
        line, lines, listed, count = m.outer_at, m.outers, m.column_at, m.columns
        if not by_row:
            line, lines, listed, count = listed, count, line, lines
        line_base, list_base = (row_base, col_base) if by_row else (col_base, row_base)
        line_words, listed_words = (S, columns) if by_row else (columns, S)
        most = spread_terms(
            m, line, lines, by_row, line_base, sign, trips, config, cpu, line_words, words
        )
        n = 0
        if most > 0:
            n = gather_terms(
                m, listed, count, not by_row, list_base, trips, config, cpu, listed_words, tiles,
                lanes, terms, lists,
            )  # fmt: skip
            size = lines * p
            for j in range(n):
                tile = (base + trips[line].tile + tiles[j]) & config.tile_mask
                start = places[tile, 0] + lanes[j] * places[tile, 2 if by_row else 1]
                if m.narrow:
                    clipped = add_narrow(
                        m, config.weight_bits, W, start, size, terms, words, j, over
                    )
                else:
                    products(terms, words, most, m.inners, j, size, lists, acc)
                    clipped = add(m, config.weight_bits, W, start, size, acc, over)
                if clipped and m.walk:
                    for e in range(size):
                        if over[e]:
                            # The tile that a list begins with, and a row of the list.
                            first, at = trips[line + e // p].tile, tiles[j] * p + lanes[j]
                            if not by_row:
                                first, at = tiles[j], np.int64(e)
                            met = (base + first + rows[at]) & config.tile_mask
                            count_tile(met, cpu, registers, marks)
                elif clipped:
                    for g in range(lines):
                        if over[g * p : g * p + p].any():
                            tile = (base + trips[line + g].tile + tiles[j]) & config.tile_mask
                            count_tile(tile, cpu, registers, marks)
        if most < 0 or n < 0:
            return ADDRESS
    else:
        n, gathered = 0, NOWHERE
        for i in range(m.outers):
            row = trips[m.outer_at + i]
            some = spread_terms(
                m, m.outer_at + i, 1, True, row_base, sign, trips, config, cpu, S, words
            )
            if some < 0:
                return ADDRESS
            if m.idle and not some:
                continue
            if row.col != gathered:
                gathered = row.col
                n = gather_terms(
                    m, m.column_at, m.columns, False, col_base + gathered, trips, config, cpu,
                    columns, tiles, lanes, terms, lists,
                )  # fmt: skip
            if n < 0:
                return ADDRESS
            for j in range(n):
                tile = (base + row.tile + tiles[j]) & config.tile_mask
                if missing(cpu, TILE_SPACE, tile + m.integral, config.weight_depth):
                    return ADDRESS
                products(
                    terms, words, np.int64(1) << 31, m.inners, j, p,
                    lists, acc,
                )  # fmt: skip
                if m.integral:
                    clipped = integrate(m, config, W, places, tile, lanes[j], acc)
                else:
                    u, v = np.int64(0), np.int64(0)
                    if m.stochastic:
                        place = tile - (base & config.tile_mask)
                        u, v = hash_words(registers[UPDATE_KEY], place)
                    clipped = update(m, config, W, places, tile, lanes[j], acc, u, v)
                if clipped and m.walk:
                    met = base + row.tile + rows[tiles[j] * p + lanes[j]]
                    count_tile(met & config.tile_mask, cpu, registers, marks)
                elif clipped:
                    count_tile(tile, cpu, registers, marks)
    if not m.hold:
        registers[UPDATE_KEY] = mix(registers[UPDATE_KEY])
    return DONE


@njit
def count_tile(tile, cpu, registers, marks):
    """Count a weight saturation, once a tile and LEARN: ``marks`` has the last LEARN that counted
    each tile and, at its end, the number of this one."""
    if marks[tile] != marks[len(marks) - 1]:
        marks[tile] = marks[len(marks) - 1]
        if cpu.counting:
            registers[WEIGHT_SATURATIONS] += 1


@njit(forceinline=True)
def add(m, weight_bits, W, start, size, acc, over):
    """Add sums, rounded, to a line of weights. Returns whether any saturated, and in ``over``
    which."""
    high = (np.int64(1) << (weight_bits - 1)) - 1
    q, low, half = m.q, -high - 1, np.int64(1) << (m.q - 1)
    some, start, size = np.int64(0), np.uint64(start), np.uint64(size)
    for e in range(size):
        x = acc[e]
        new = np.int64(W[start + e]) + ((x + half + (x >> 63)) >> q)
        saturated = min(max(new, low), high)
        over[e] = new != saturated
        some |= new != saturated
        W[start + e] = saturated
    return some != 0


@njit(forceinline=True)
def add_narrow(m, weight_bits, W, start, size, terms, words, j, over):
    """`add` of one term whose products, rounding included, have 32 bits. Without the conversions,
    numba would compute with 64."""
    high = np.int32((np.int64(1) << (weight_bits - 1)) - 1)
    low, q, half = np.int32(-high - 1), np.int32(m.q), np.int32(np.int64(1) << (m.q - 1))
    some, start, size = np.int32(0), np.uint64(start), np.uint64(size)
    value = terms[j, 0]
    for e in range(size):
        x = np.int32(words[0, e] * value)
        x = np.int32(np.int32(x + half) + down(x, np.int32(31)))
        new = np.int32(W[start + e] + down(x, q))
        saturated = np.int32(min(np.int32(max(new, low)), high))
        beyond = np.int32(new ^ saturated)
        over[e] = beyond
        some = np.int32(some | beyond)
        W[start + e] = saturated
    return some != 0


@njit
def update(m, config, W, places, tile, column, acc, u, v):
    """New weights of a tile's column. Returns whether one saturated."""
    high = (np.int64(1) << (config.weight_bits - 1)) - 1
    low = -high - 1
    floor = np.int64(0) if m.bound else low
    start, pitch = places[tile, 0] + column * places[tile, 2], places[tile, 1]
    q, decays, half = m.q, m.q - config.decay_shift, np.int64(1) << (m.q - 1)
    turned, mask = rotl(v, 5 * column & 31), (np.int64(1) << config.dither_bits) - 1
    scale = q - config.dither_bits - 1
    over = np.int64(0)
    for row in range(config.p):
        if m.diagonal and row != column:
            continue
        at = start + row * pitch
        w, x = np.int64(W[at]), acc[row]
        if m.decay:
            x -= w << decays
        if m.stochastic:
            h = (rotl(u, 3 * row & 31) ^ turned) & mask
            x += (2 * h + 1) << scale
        else:
            x += half + (x >> 63)  # halves away from zero
        new = (np.int64(0) if m.replace else w) + (x >> q)
        saturated = min(max(new, low), high)
        over |= new ^ saturated
        W[at] = max(saturated, floor)
    return over != 0


@njit
def integrate(m, config, W, places, tile, column, acc):
    """New weights and memories of a tile's column. Returns whether a weight saturated."""
    high = (np.int64(1) << (config.weight_bits - 1)) - 1
    low = -high - 1
    floor = np.int64(0) if m.bound else low
    over = np.int64(0)
    start, pitch = places[tile, 0] + column * places[tile, 2], places[tile, 1]
    start_m, pitch_m = places[tile + 1, 0] + column * places[tile + 1, 2], places[tile + 1, 1]
    for row in range(config.p):
        if m.diagonal and row != column:
            continue
        at, beside = start + row * pitch, start_m + row * pitch_m
        memory = np.int64(W[beside])
        if not (acc[row] or memory or m.bound):
            continue  # an input of 0 that was so before
        u = min(max(half_away(acc[row], m.q), low), high) - memory
        W[beside] = memory + half_away(u, config.integral_shift)  # between both: no need to clip
        g = u if abs(u) > m.threshold else 0
        new = np.int64(W[at]) + half_away(g, m.gain)
        saturated = min(max(new, low), high)
        over |= new ^ saturated
        W[at] = max(saturated, floor)
    return over != 0


# WAIT and EMIT --------------------------------------------------------------------------------


@njit(forceinline=True)
def wait(m, x, config, cpu, S, samples):
    """Take a WAIT's bytes, which are there, into S."""
    p = config.p
    first = (m.dst + x[m.dst_x]) & config.state_mask
    if missing(cpu, STATE_SPACE, first + (m.count - 1) // p, config.state_depth):
        return ADDRESS
    bits = config.state_bits if m.pack == WORD else np.int64(1) << m.pack
    mask, sign = (np.int64(1) << bits) - 1, np.int64(1) << (bits - 1)
    if not (m.signed or m.pack == WORD):
        sign = np.int64(0)
    to, at, shift, count = (
        np.uint64(first * p),
        np.uint64(cpu.position),
        m.shift,
        np.uint64(m.count),
    )
    if m.pack == WORD:
        size = np.uint64(m.word_bytes)
        for n in range(count):
            value = np.int64(0)
            for k in range(size):
                value |= np.int64(samples[at + n * size + k]) << np.int64(8 * k)
            S[to + n] = (((value & mask) ^ sign) - sign) << shift
    else:
        pack = np.uint64(m.pack)
        for n in range(count):
            bit = n << pack
            value = np.int64(samples[at + (bit >> np.uint64(3))]) >> np.int64(bit & np.uint64(7))
            S[to + n] = (((value & mask) ^ sign) - sign) << shift
    cpu.position += m.bytes
    return DONE


@njit(forceinline=True)
def take_sample(m, x, config, cpu, S, Z, rows, samples):
    """Make a WAIT's bytes, which are there, the present sample."""
    p = config.p
    bits = np.int64(1) << m.pack
    mask, sign = (np.int64(1) << bits) - 1, np.int64(1) << (bits - 1)
    if not m.signed:
        sign = np.int64(0)
    cpu.listed, count = 0, m.count + m.bias
    for n in range(count):
        value = np.int64(m.constant)
        if n < m.count:
            bit = n << m.pack
            octet = np.int64(samples[cpu.position + (bit >> 3)])
            value = ((((octet >> (bit & 7)) & mask) ^ sign) - sign) << m.shift
        row = np.int64(0)
        if n >= p:  # behind the one before in its column's list, if that is there
            row = rows[n - p] + (Z[n - p] != 0 or m.dense != 0)
        Z[n], rows[n] = value, row
        if value != 0 or m.dense:
            cpu.listed = max(cpu.listed, row + 1)
    for n in range(count, (count + p - 1) // p * p):
        Z[n] = 0
    cpu.label = -1
    if m.outputs:
        first = (m.dst + x[m.dst_x]) & config.state_mask
        if missing(cpu, STATE_SPACE, first + (m.outputs - 1) // p, config.state_depth):
            return ADDRESS
        cpu.label = np.int64(samples[cpu.position + m.bytes - 1])
        for n in range(m.outputs):
            S[first * p + n] = m.high if n == cpu.label else m.low
    cpu.position += m.bytes
    return DONE


@njit(forceinline=True)
def emit(m, x, config, cpu, S, D, registers, out):
    """An EMIT's payload to ``out``, which has room. Returns ADDRESS or DONE."""
    p = config.p
    base, at = m.base + x[m.base_x], cpu.emitted
    if m.kind == COUNTERS:
        if missing(cpu, REGISTER_SPACE, base + m.count - 1, len(registers)):
            return ADDRESS
        for i in range(m.count):
            for k in range(COUNTER_BYTES):
                out[at] = (registers[base + i] >> 8 * k) & 255
                at += 1
        cpu.emitted = at
        return DONE
    mask = config.drive_mask if m.kind == DRIVE else config.state_mask
    depth = config.drive_depth if m.kind == DRIVE else config.state_depth
    space = DRIVE_SPACE if m.kind == DRIVE else STATE_SPACE
    first = base & mask
    if missing(cpu, space, first + (m.count - 1) // p, depth):
        return ADDRESS
    best, best_value = np.int64(0), np.int64(0)
    for n in range(m.count):
        value = D[first * p + n] if m.kind == DRIVE else np.int64(S[first * p + n])
        if m.kind == ARGMAX or m.kind == ANSWER:
            if n == 0 or value > best_value:
                best, best_value = n, value
        else:
            for k in range(m.word_bytes):
                out[at] = (value >> 8 * k) & 255
                at += 1
    if m.kind == ANSWER and best != cpu.label and cpu.counting:
        registers[WRONG] += 1
    if m.kind == ARGMAX:
        out[at], out[at + 1] = best & 255, best >> 8
        at += 2
    cpu.emitted = at
    return DONE


# The sequencer --------------------------------------------------------------------------------


def run(
    program, operations, trips, segments, config, S, D, table, registers, W, places, Z, rows,
    scratch, cpu, loops, x, samples, out, ends,
):  # fmt: skip
    """Go on with a run until it halts or needs something; returns which.

    ``program`` holds the operation of each row, or -1; ``loops`` the trips that open loops have
    done and will do; ``x`` X[0] .. X[3]. EMIT payloads go to ``out``, their ends to ``ends``.
    """
    config, cpu = config[0], cpu[0]
    room, records = len(out), len(ends)
    walked = np.int64(0)  # cycles of a walk's lists
    while True:
        if cpu.work <= 0:
            return PAUSED
        fresh = cpu.pending < 0
        if fresh:
            index = program[cpu.row] if cpu.row < len(program) else -1
            if index < 0:
                return DECODE
        else:
            index, cpu.pending = cpu.pending, -1
        m = operations[index]
        code = m.opcode
        if fresh:
            if cpu.counting and m.fetch > cpu.hidden:
                registers[m.control] += m.fetch - cpu.hidden
            walked = np.int64(0)
            if m.least:
                walked = m.outers * max(np.int64(cpu.listed), np.int64(m.least))
            cpu.hidden = m.hides + (walked if m.hides_list else 0)
            cpu.row += m.rows
        status = DONE
        if code == MAC:
            status = mac(
                m, trips, segments, x, config, cpu, S, D, W, places, Z, table, registers, scratch
            )
            cpu.work -= m.outers * m.inners * config.p * config.p
        elif code == LEARN:
            status = learn(m, trips, x, config, cpu, S, W, places, Z, rows, registers, scratch)
            cpu.work -= m.outers * m.columns * m.inners * config.p * config.p
        elif code == LOOP:
            if (m.skip == IF_FLAG and cpu.flag) or (m.skip == UNLESS_FLAG and not cpu.flag):
                cpu.row = m.end
            else:
                if cpu.depth == len(loops):
                    return DEPTH
                loops[cpu.depth, 0], loops[cpu.depth, 1] = 0, m.count
                cpu.depth += 1
                if cpu.depth < len(x):
                    x[cpu.depth] = 0
        elif code == NEXT:
            if cpu.depth == 0:
                return UNOPENED
            if m.sweep and cpu.counting:
                registers[SWEEPS] += 1
            top = cpu.depth - 1
            loops[top, 0] += 1
            if loops[top, 0] == loops[top, 1] or (m.until and cpu.flag):
                cpu.depth = top
            else:
                cpu.row = m.body
                if cpu.depth < len(x):
                    x[cpu.depth] += m.step
        elif code == WAIT:
            if m.tick and fresh:
                registers[SAMPLE_KEY] = mix(registers[SAMPLE_KEY])
                if cpu.counting:
                    registers[SAMPLES] += 1
            if cpu.end - cpu.position < m.bytes:
                cpu.pending = index
                return STARVED
            if m.ahead:
                status = take_sample(m, x, config, cpu, S, Z, rows, samples)
            else:
                status = wait(m, x, config, cpu, S, samples)
            cpu.work -= 1
        elif code == EMIT:
            if cpu.emits == records or cpu.emitted + 8 * m.count + 2 > room:
                cpu.pending = index
                return FULL
            status = emit(m, x, config, cpu, S, D, registers, out)
            if m.kind != ANSWER:
                ends[cpu.emits] = cpu.emitted
                cpu.emits += 1
        if status != DONE:
            return status
        if cpu.counting:
            registers[m.counter] += m.own + walked
        cpu.work -= 1
        if code == HALT:
            return HALTED
