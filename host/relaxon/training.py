"""Training and inference on a device: epochs, sample order, schedules, checkpoints."""

import time
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from math import inf
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from relaxon_device.base import Device
from relaxon_isa import (
    COUNTER_BITS,
    KEYS,
    ArrayConfig,
    ConfigError,
    DataError,
    DeviceError,
    LinkError,
    Loop,
    Mac,
    Next,
    Program,
    Register,
    Space,
    drain_cycles,
    fetch_cycles,
    issue_cycles,
    registers,
)
from relaxon_isa.identity import Identity
from relaxon_sim.golden.order import MOST, records_at

from . import checks
from .callbacks import Callback, Told
from .checkpoint import Checkpoint
from .datasets import Dataset
from .generator import Generator
from .network import Network, from_integers, initial_weights, to_integers
from .rules import check
from .rules.base import Rule
from .rules.settings import RuleSettings
from .stored import SampleStore
from .weights import load_layers, read_layers

__all__ = [
    "CONVOLUTION_HALVINGS",
    "FEISTEL",
    "ORDERS",
    "Progress",
    "Shown",
    "TrainSettings",
    "Trainer",
    "check_data",
    "remarks",
    "run_limit",
    "silent",
    "summary_of",
    "training_for",
    "unseen",
]

Progress = Callable[[int], None]
"""Called with the number of samples done since the last call."""


def silent(done: int) -> None:
    """The `Progress` that tells nobody."""


class Counted:
    """A `Progress` that tells another one, and knows how many are ``done``."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.done = progress, 0

    def __call__(self, done: int) -> None:
        self.done += done
        self.progress(done)


Shown = Callable[[str, int], AbstractContextManager[Progress]]


def unseen(label: str, total: int) -> AbstractContextManager[Progress]:
    """The `Shown` that shows nothing."""
    return nullcontext(silent)


SAMPLES_A_RUN = 1 << 16
ENCODED = 1 << 8
"""Samples encoded at a time."""
KEY_STREAM = 0x6B657973  # separates the seeds of keys from those of weights and order
ORDER_STREAM = 0x6F726472  # and those of the keys of orders
FEISTEL = "feistel"
ORDERS = ("generator", FEISTEL)
"""What makes the order of an epoch: the host's `Generator`, or `relaxon_isa.order`."""

WRAP = 1 << COUNTER_BITS
NO_COUNTS = (*KEYS, Register.WRONG, Register.MEMORY)
"""Registers that are written, or do not count from the start of a run on."""

KINDS = {
    "mac": Register.MAC_CYCLES,
    "learn": Register.LEARN_CYCLES,
    "control": Register.CONTROL_CYCLES,
    "wait": Register.WAIT_CYCLES,
    "emit": Register.EMIT_CYCLES,
}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A training run.

    Parameters
    ----------
    epochs
        Passes over the training set.
    seed
        Of initial weights, sample order and the machine's keys.
    rate_halvings
        How often, evenly over the epochs, every learning rate is halved (`training_for` knows how
        often convolutional networks want it).
    init_gain
        Of `initial_weights`.
    shuffle
        A new order every epoch (else the data set's).
    order
        What makes it, one of `ORDERS`: "generator", random numbers of the host; "feistel", what a
        machine with a sample memory does by itself (`relaxon_isa.order`), so that it need not be
        sent. Either is the same on every device.
    rule
        Rule, objective, architecture and their settings.
    """

    epochs: int = 10
    seed: int = 0
    rate_halvings: int = 2
    init_gain: float = 0.5
    shuffle: bool = True
    order: str = ORDERS[0]
    rule: RuleSettings = field(default_factory=RuleSettings)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("seed", 0, (1 << 32) - 1),
            ("rate_halvings", 0, 16),
        ):
            object.__setattr__(self, name, checks.whole(name, getattr(self, name), low, high))
        for name in ("init_gain", "shuffle"):
            object.__setattr__(self, name, checks.plain(getattr(self, name)))
        if not isinstance(self.init_gain, Real) or not 0 <= self.init_gain <= 16:
            raise ConfigError(f"init_gain = {self.init_gain!r}: must be a number, 0 to 16")
        checks.kind("shuffle", self.shuffle, bool, "True or False")
        names = " or ".join(map(repr, ORDERS))
        if checks.kind("order", self.order, str, names) not in ORDERS:
            raise ConfigError(f"order = {self.order!r}: must be {names}")
        if self.order == FEISTEL and not self.shuffle:
            raise ConfigError(
                "order = 'feistel' needs shuffle: without it every epoch has the data set's order; "
                "leave out --no-shuffle (shuffle=False), or --order"
            )
        checks.kind("rule", self.rule, RuleSettings, "settings_for(...) makes them")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> "TrainSettings":
        """Raises DataError for what `to_json` cannot have written."""
        try:
            rule: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values["rule"].items()
            }
            return cls(**{**values, "rule": RuleSettings(**rule)})
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise DataError(f"these are no settings of a training run: {error}") from error


CONVOLUTION_HALVINGS = 4
"""Default of ``rate_halvings`` on convolutional networks."""


def training_for(network: Network, rule: RuleSettings, **given: Any) -> TrainSettings:
    """`TrainSettings` with the defaults of the network's kind, then those that are ``given`` and
    not None."""
    own = {"rate_halvings": CONVOLUTION_HALVINGS} if network.convolves else {}
    given = {name: value for name, value in given.items() if value is not None}
    return TrainSettings(rule=rule, **{**own, **given})


def check_data(network: Network, data: Dataset, rule: RuleSettings) -> None:
    """Raise DataError if the data set does not go with the network or the rule's settings."""
    if data.classes is None and rule.early_stop and not rule.margin:
        raise DataError(
            f"{data.name} has real-valued targets, which outputs meet exactly by chance alone: "
            "early_stop needs a margin"
        )
    if data.classes is None and rule.objective == "cross-entropy":
        raise DataError(
            f"{data.name} has real-valued targets, objective cross-entropy is about classes: "
            "--data must have integer labels, or --objective be another"
        )
    for part in ("x_train", "x_test"):
        checks.within(f"{data.name}: {part}", data.held(part), rule.input_bits)
    features, outputs = network.sizes[0], network.sizes[-1]
    if data.features != features:
        raise DataError(
            f"{data.name} has {data.features} inputs a sample, the network {network} takes "
            f"{features}: --data must be another, or the first of --layers must be {data.features}"
        )
    if data.outputs > outputs or (data.classes is None and data.outputs < outputs):
        what, least = ("targets a sample", "") if data.classes is None else ("classes", "at least ")
        whole = data.classes is None and _whole(data.y_train)
        raise DataError(
            f"{data.name} has {data.outputs} {what}, the network {network} has {outputs} outputs: "
            f"--data must be another, or the last of --layers must be {least}{data.outputs}"
            + ("; its y may be labels: y.astype(int), or --task classification" if whole else "")
        )


def _whole(values: np.ndarray) -> bool:
    return np.array_equal(values, np.rint(values))


def remarks(rule: Rule, data: Dataset) -> list[str]:
    """What can run, and is hardly meant: targets out of reach, a single class, no nudge."""
    if not len(data.y_train):  # samples to be answered
        return []
    said, targets = [], rule.targets_of(data.y_train)
    if rule.output == "clip" and (targets.min() < 0 or targets.max() > 1):
        said.append(
            f"{data.name}: targets reach from {targets.min():g} to {targets.max():g}; outputs "
            "cannot, they are in [0, 1]: try --scale-targets, or --output linear"
            + ("; if they are labels: --task classification" if _whole(data.y_train) else "")
        )
    if data.classes is not None and len(np.unique(data.y_train)) == 1:
        said.append(f"{data.name}: y_train holds a single class, so accuracy says nothing")
    outputs = rule.layout.network.sizes[-1]
    if data.classes is not None and 1 < data.classes < outputs:
        said.append(
            f"{data.name} has {data.classes} classes, the network {outputs} outputs: those from "
            f"{data.classes} on are never right"
        )
    others, right = rule.settings.targets
    if data.classes is not None and right <= others:
        said.append(
            f"targets {others:g},{right:g}: the right class's output is to be no higher than the "
            "others', so answers are right by chance alone"
        )
    if {*rule.settings.frozen} == {*range(1, rule.layout.depth + 1)}:
        said.append("all weight layers are frozen, so nothing is learned")
    if not rule.settings.beta:
        said.append("beta = 0: outputs are not nudged, so nothing is learned")
    return said


def most_cycles(program: Program) -> int:
    """Cycles of a run of a program if every LOOP is taken to its count."""
    total, trips = 0, [1]
    for instruction in program.instructions:
        costs = (cost(program.config, instruction) for cost in (issue_cycles, drain_cycles))
        total += trips[-1] * (sum(costs) + fetch_cycles(instruction))
        if isinstance(instruction, Loop):
            trips.append(trips[-1] * instruction.count)
        elif isinstance(instruction, Next):
            trips.pop()
    return total


def run_limit(device: Device, program: Program) -> float:
    """Seconds that a run of a program may say nothing at most: twice its `most_cycles`, and 10 s
    more. A simulated board may be a thousand times slower than the clock that it claims."""
    total = most_cycles(program)
    clock = device.identity.clock_hz / (1000 if device.simulated else 1)
    return 10 + 2 * total / clock if clock else inf


class Samples:
    """Training samples as WAIT takes them, inputs before targets, in an order: joined only when a
    device asks for some of them."""

    def __init__(
        self, inputs: NDArray[np.uint8], targets: NDArray[np.uint8], order: NDArray[np.integer]
    ) -> None:
        self._parts, self._order = (inputs, targets), order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, some: slice) -> NDArray[np.uint8]:
        return np.concatenate([part[self._order[some]] for part in self._parts], axis=1)


class Trainer:
    """Trains one network on one device.

    ::

        trainer = Trainer(device, network, data, settings)
        trainer.start()
        for entry in trainer.epochs():
            print(entry)

    Parameters
    ----------
    callbacks
        Told by `epochs`.
    every
        Samples after which the machine stops for `Callback.on_samples`; 0: never in an epoch. Each
        stop takes it a few cycles; the bits of all weights stay the same.
    stream
        Send the samples with every epoch also where the machine could keep them (`SampleStore`):
        the same bits.
    """

    def __init__(
        self,
        device: Device,
        network: Network | str | Sequence[int],
        data: Dataset,
        settings: TrainSettings,
        callbacks: Sequence[Callback] = (),
        every: int = 0,
        stream: bool = False,
    ) -> None:
        checks.kind("device", device, Device, "open_device(...) opens one")
        checks.kind("data", data, Dataset, "load(...) makes one")
        checks.kind("settings", settings, TrainSettings, "they hold the rule's and the run's")
        network = Network.parse(network)
        check_data(network, data, settings.rule)
        if settings.order == FEISTEL and len(data.x_train) >= MOST:
            raise DataError(
                f"{data.name} has {len(data.x_train)} samples to train on, order 'feistel' is of "
                f"{MOST - 1} at most: --order generator takes more"
            )
        self.device = device
        self.network = network
        self.data = data
        self.settings = settings
        self.rule = check(network, device.config, settings.rule)
        self.layout, self.formats = self.rule.layout, self.rule.formats
        self._labelled = data.classes is not None and self.rule.takes_ahead()
        self._train, self._marks = self.rule.train_program(
            halvings=settings.rate_halvings, labelled=self._labelled
        )
        self.epoch = 0
        self.history: list[dict] = []
        self._counts = self._counted = dict.fromkeys(registers(device.config), 0)
        self.told = Told(callbacks)
        self.every = checks.whole("every", every, 0, checks.MANY)
        encode = self.rule.encode_labels if self._labelled else self.rule.encode_targets
        try:
            self._targets = encoded_by(encode, data.y_train)
        except DataError as error:
            raise DataError(
                f"{data.name}: y_train: {error}; --scale-targets (load(..., scale_targets=True)) "
                "does it"
            ) from error
        self._inputs = encoded_by(self.rule.encode_inputs, data.held("x_train"))
        self._test_inputs = encoded_by(self.rule.encode_inputs, data.held("x_test"))
        self._store: SampleStore | None = None
        self._tests: SampleStore | None = None
        if device.config.sample_memory and self._labelled and len(self._inputs) and not stream:
            samples = Samples(self._inputs, self._targets, np.arange(len(self._inputs)))
            store = SampleStore(device, self._train, samples, data.digest)
            self._store = store if store.held else None
            if store.held == len(self._inputs) and len(self._test_inputs):
                tests = SampleStore(
                    device, self.rule.infer_program(), self._test_inputs, data.digest, store.end
                )
                self._tests = tests if tests.held == len(self._test_inputs) else None

    @property
    def stored(self) -> int:
        """How many of the training samples the machine keeps in its sample memory, and so are sent
        at most once."""
        return self._store.held if self._store else 0

    @property
    def makes_order(self) -> bool:
        """Whether the machine makes the order of the samples by itself; else the host does."""
        return self.settings.order == FEISTEL and 0 < self.stored == len(self._inputs)

    def hold(self, progress: Progress = silent) -> int:
        """Have those samples in the memory; returns how many were sent. `run_epoch` does it, where
        nobody did since `start` or `resume`. Raises DeviceError if the memory does not keep them.

        The test samples follow with the first `evaluate`, where the memory has room for all.
        """
        return self._store.hold(progress) if self._store else 0

    @property
    def identity(self) -> Identity:
        return self.device.identity

    # Start and resume

    def start(self, weights: abc.Iterable[ArrayLike] | None = None) -> None:
        """Load constants, initial weights and keys.

        ``weights``: real matrices, bias last, of the first of `Layout.shapes`; the others, all by
        default, are drawn from the seed. Raises DataError for other shapes.
        """
        given = [] if weights is None else checks.listed("weights", weights)
        found = checks.weights(given, self.layout.shapes[: len(given)])
        drawn = initial_weights(self.layout, self.settings.seed, self.settings.init_gain)
        drawn = self.rule.initial(drawn)
        self._load(self._integers([*found, *drawn[len(found) :]]))
        keys = Generator((KEY_STREAM, self.settings.seed)).integers(1, 1 << 32, 2)
        values = np.zeros(len(registers(self.device.config)), dtype=np.int64)
        values[list(KEYS)] = keys
        self.device.write(Space.REGISTER, 0, values)
        self._counts = self._counted = self.device.counters()
        self.epoch, self.history = 0, []

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint ends. Raises DataError if it is of another machine or
        architecture. Data and settings must be those of its run, or the bits are others: the
        command line alone compares them."""
        checks.kind("checkpoint", checkpoint, Checkpoint, "Checkpoint.load(...) reads one")
        if checkpoint.fingerprint != self.identity.fingerprint:
            raise DataError(
                f"the checkpoint is of a machine with fingerprint {checkpoint.fingerprint}, this "
                f"one has {self.identity.fingerprint}: the bits would differ; use the same board "
                "or preset"
            )
        if [w.shape for w in checkpoint.weights] != self.layout.shapes:
            raise DataError(f"the checkpoint's weights are not those of {self.network} here")
        weights = checks.weights(checkpoint.weights, self.layout.shapes, raw=True)
        kept = registers(self.device.config)
        if missing := [r.name for r in kept if r.name not in checkpoint.registers]:
            raise DataError(f"the checkpoint lacks the registers {', '.join(missing)}")
        self._load(weights)
        self._counts = {register: checkpoint.registers[register.name] for register in kept}
        self.device.write(Space.REGISTER, 0, [v % WRAP for v in self._counts.values()])
        self._counted = self.device.counters()
        self.epoch, self.history = checkpoint.epoch, list(checkpoint.history)

    def _integers(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        bits, frac = self.device.config.weight_bits, self.formats.weight_frac
        return [to_integers(w, frac, bits) for w in weights]

    def _load(self, weights: list[np.ndarray]) -> None:
        checks.claim(self.device, self)
        for store in (self._store, self._tests):
            if store:
                store.sure = False
        self.rule.prepare(self.device)
        load_layers(self.device, self.layout, weights)
        self.device.load(self._train.rows)  # epochs then send what is new in theirs

    def checkpoint(self, spec: dict) -> Checkpoint:
        return Checkpoint(
            network=self.network,
            fingerprint=self.identity.fingerprint,
            weights=self.weights(),
            registers={r.name: v for r, v in self.counters().items()},
            epoch=self.epoch,
            spec=spec,
            history=self.history,
        )

    def counters(self) -> dict[Register, int]:
        """`Device.counters`, but that counts since `start` go on beyond the machine's 32 bits."""
        now, before = self.device.counters(), self._counted
        self._counts = {
            r: v if r in NO_COUNTS else self._counts[r] + (v - before[r]) % WRAP
            for r, v in now.items()
        }
        self._counted = now
        return dict(self._counts)

    def weights(self) -> list[np.ndarray]:
        """Integer matrices, read from the device."""
        return read_layers(self.device, self.layout)

    def real_weights(self) -> list[np.ndarray]:
        return [from_integers(w, self.formats.weight_frac) for w in self.weights()]

    # Training

    def epochs(
        self,
        *,
        evaluate: bool = True,
        loss: bool = False,
        shown: Shown = unseen,
        retry: float = 0.0,
    ) -> abc.Generator[dict, None, None]:
        """Train up to `TrainSettings.epochs`; gives each epoch's entry of `history`, with the test.

        ``evaluate``, ``loss``: as of `evaluate`, after each epoch. ``shown`` makes the progress of
        a step, given its name and its samples. What a callback raises is raised after the epoch,
        once its entry was given: until then the caller can keep what it came to. ``retry``: seconds
        that a board on a port may be away; when it is back, the epoch that this cut short is
        trained again from its beginning, and comes to the same bits.
        """
        self.told.start(self)
        try:
            self.told.check()
            begun = self.checkpoint({}) if retry and self.device.reconnects else None
            while self.epoch < self.settings.epochs:
                try:
                    entry = self._epoch(evaluate, loss, shown)
                    ended = self.checkpoint({}) if begun else None
                except LinkError as error:
                    if begun is None:
                        raise
                    self._go_back(begun, error, retry, shown)
                    continue
                begun = ended
                self.told.epoch(self, entry)
                yield entry
                self.told.check()
        finally:
            self.told.end(self)
        self.told.check()

    def _epoch(self, evaluate: bool, loss: bool, shown: Shown) -> dict:
        if self._store and not self._store.sure:
            with shown("loading samples", self.stored) as progress:
                self.hold(progress)
        label = f"epoch {self.epoch + 1}/{self.settings.epochs}"
        with shown(label, len(self._inputs)) as progress:
            entry = self.run_epoch(progress)
        if evaluate:
            if self._tests and not self._tests.sure:
                with shown("loading test samples", self._tests.held) as progress:
                    self._tests.hold(progress)
            with shown("testing", len(self._test_inputs)) as progress:
                entry["test"] = self.evaluate(progress, loss=loss)
        return entry

    def _go_back(self, begun: Checkpoint, error: LinkError, seconds: float, shown: Shown) -> None:
        """To where an epoch began, once a board that was lost is back; raises ``error`` if it does
        not come."""
        with shown("waiting for the board", round(seconds)) as progress:
            for _ in range(round(seconds)):
                try:
                    self.device.reconnect()
                    return self.resume(begun)
                except DeviceError:
                    time.sleep(1)
                    progress(1)
        raise error

    def order(self, epoch: int) -> np.ndarray:
        """Sample order of an epoch: a function of seed, epoch and `TrainSettings.order` alone."""
        count, epoch = len(self._inputs), checks.whole("epoch", epoch, 0, checks.MANY)
        if not self.settings.shuffle:
            return np.arange(count)
        if self.settings.order == FEISTEL:
            return records_at(self._order_key(epoch), count, np.arange(count))
        return Generator((self.settings.seed, epoch)).permutation(count)

    def _order_key(self, epoch: int) -> int:
        """What names an epoch's order to the machine."""
        return int(Generator((ORDER_STREAM, self.settings.seed, epoch)).integers(0, 1 << 32, 1)[0])

    def _halvings(self, epoch: int) -> int:
        """How often the learning rates have been halved."""
        return epoch * (self.settings.rate_halvings + 1) // self.settings.epochs

    def _scheduled(self, epoch: int) -> Program:
        """The training program with this epoch's learning rates."""
        halvings, program = self._halvings(epoch), self._train
        if not halvings:
            return program
        for indices in self._marks.rates.values():
            for index in indices:
                mac = program.instructions[index]
                assert isinstance(mac, Mac)
                shift = min(mac.shift + halvings, self.device.config.acc_bits - 1)
                program, _, _ = program.patch(index, shift=shift)
        return program

    def run_epoch(self, progress: Progress = silent) -> dict:
        """Train on every sample once; returns the epoch's entry of `history`. Raises ConfigError
        unless `start` or `resume` came before, on this device and by nobody else since; DeviceError
        if a sample memory did not keep the samples throughout, and then the epoch does not count.
        """
        checks.owned(self.device, self)
        if not len(self._inputs):
            raise DataError(f"{self.data.name} has no samples to train on, but to answer")
        self.hold()
        order = self.order(self.epoch)
        program = self._scheduled(self.epoch)
        right = done = 0
        if self._labelled:
            self.device.write(Space.REGISTER, Register.WRONG, [0])
        most = most_cycles(program.patch(self._marks.samples, count=1)[0])
        size = max(1, min(self.every or SAMPLES_A_RUN, SAMPLES_A_RUN, (WRAP - 1) // most))
        for start in range(0, len(order), size):
            part = order[start : start + size]
            program, _, _ = program.patch(self._marks.samples, count=len(part))
            self.device.run_limit = self._limit(program, self._marks.samples)
            self.device.load(program.rows)
            payloads = self._run(start, part, counted := Counted(progress))
            self.counters()  # no run is so long that one of them wraps twice
            if self._labelled:
                counted(len(part) - counted.done)
            elif self.data.classes is not None:
                answers = np.frombuffer(b"".join(payloads), "<u2")
                right += np.count_nonzero(answers == self.data.y_train[part])
            done += len(part)
            if self._labelled and (self.every or done == len(order)):
                right = done - self.device.counters()[Register.WRONG]
            if self.every:
                online = {} if self.data.classes is None else {"online_accuracy": right / done}
                self.told.samples(self, self.epoch + 1, **online)
        if self._store:
            self._store.check()
        if self.rule.OUTSIDE:
            x, y = self.data.x_train[order], self.data.y_train[order]
            learned = self.rule.outside(self.real_weights(), x, y, self._halvings(self.epoch))
            load_layers(self.device, self.layout, self._integers(learned))
        self.epoch += 1
        entry: dict = {"epoch": self.epoch, "samples": done}
        if self.data.classes is not None:
            entry["online_accuracy"] = float(right / done)
        self.history.append(entry)
        return entry

    def _run(self, start: int, part: NDArray[np.integer], progress: Progress) -> list[bytes]:
        """Run the program that is loaded over training samples, wherever they are: those at the
        places from ``start`` on of this epoch's order."""
        if self._store is None:
            samples = Samples(self._inputs, self._targets, part)
            return self.device.run_all(samples, progress=progress)
        if self.makes_order:
            key = self._order_key(self.epoch)
            return self._store.run_ordered(key, start, len(part), progress)
        others = Samples(self._inputs, self._targets, part[part >= self._store.held])
        return self._store.run(part, others, progress)

    def _limit(self, program: Program, loop: int) -> float:
        """`run_limit` of one sample of a program, whose ``loop`` counts samples."""
        return run_limit(self.device, program.patch(loop, count=1)[0])

    def _infer(
        self,
        inputs: NDArray[np.uint8],
        outputs: bool,
        progress: Progress,
        stored: SampleStore | None = None,
    ) -> np.ndarray:
        """Run the inference program over encoded inputs, which ``stored`` may hold: arg max (n,),
        or outputs (n, k)."""
        checks.owned(self.device, self)
        if stored:
            stored.hold()
        program = self.rule.infer_program(outputs=outputs)
        # Behind the training program, where there is room for both.
        row = len(self._train.rows)
        row = row if row + len(program.rows) <= self.device.config.program_rows else 0
        self.device.run_limit = self._limit(program, 0)
        results = []
        for start in range(0, len(inputs), SAMPLES_A_RUN):
            part = inputs[start : start + SAMPLES_A_RUN]
            self.device.load(program.patch(0, count=len(part))[0].rows_at(row), row)
            if stored:
                order = np.arange(start, start + len(part))
                results += stored.run(order, part[:0], progress, row=row, count=False)
            else:
                results += self.device.run_all(part, row=row, count=False, progress=progress)
        if stored:
            stored.check()
        if not outputs:
            return np.array([int.from_bytes(r, "little") for r in results], dtype=np.int64)
        words = np.array([self.device.layouts[Space.STATE].decode(r) for r in results])
        return from_integers(words, self.rule.frac(self.layout.depth))

    def evaluate(self, progress: Progress = silent, *, loss: bool = False) -> dict:
        """Accuracy on the test set (classes) or mean squared error (targets); ``loss``: both of
        classes too, for which outputs travel in place of answers.

        Disturbs nothing: weights, keys and counters stay. Raises DataError if it is empty,
        DeviceError as `run_epoch`.
        """
        data = self.data
        if not len(data.y_test):
            raise DataError(f"{data.name} has no test samples: --no-evaluate leaves them out")
        loss = loss or data.classes is None
        found = self._infer(self._test_inputs, loss, progress, self._tests)
        targets = self.rule.targets_of(data.y_test) if loss else found
        error = {"mse": float(np.mean((found - targets) ** 2))} if loss else {}
        if data.classes is None:
            return error
        answers = found.argmax(axis=1) if loss else found
        return {"accuracy": float(np.mean(answers == data.y_test)), **error}

    def predict(
        self, x: ArrayLike | None = None, *, outputs: bool = False, progress: Progress = silent
    ) -> np.ndarray:
        """The class, (n,), of each row of ``x`` (n, features), by the arg max of the free outputs,
        or the outputs, (n, k).

        ``x`` is scaled as the data set was; default: its test part. Classes are named as there.
        """
        encoded, stored = self._test_inputs, self._tests
        if x is not None:
            stored = None
            rows = self.data.scaled(checks.features("x", x, self.data.features))
            checks.within("x", rows, self.settings.rule.input_bits)
            encoded = encoded_by(self.rule.encode_inputs, rows)
        found = self._infer(encoded, outputs, progress, stored)
        return found if outputs else self.data.named(found)

    def about(self) -> dict:
        """Formats of the weights and states, and the machine, as JSON values."""
        return {
            "fingerprint": self.identity.fingerprint,
            "weight_frac": self.formats.weight_frac,
            "state_frac": self.formats.state_frac,
        }

    def summary(self) -> dict:
        """Cycles and events a training sample since `start`, from the device's counters."""
        return summary_of(self.counters(), self.device.config)


def summary_of(counters: Mapping[Register, int], config: ArrayConfig) -> dict:
    """Cycles and events a training sample, from a machine's counters."""
    samples = max(1, counters[Register.SAMPLES])
    kinds = {name: counters[register] / samples for name, register in KINDS.items()}
    if not config.kind_counters:
        kinds = {"all": kinds["mac"]}
    return {
        "samples": counters[Register.SAMPLES],
        "sweeps_per_sample": counters[Register.SWEEPS] / samples,
        "cycles_per_sample": sum(kinds.values()),
        "cycles_by_kind": kinds,
        "state_saturations": counters[Register.STATE_SATURATIONS],
        "weight_saturations": counters[Register.WEIGHT_SATURATIONS],
        "link_errors": counters[Register.LINK_ERRORS],
        "link_drops": counters[Register.LINK_DROPS],
    }


def encoded_by(
    encode: Callable[[np.ndarray], list[bytes]], values: np.ndarray
) -> NDArray[np.uint8]:
    """Samples or targets as the bytes that WAIT takes, a row each, (n, bytes): some at a time,
    since what is encoded takes many times its room meanwhile."""
    encoded = np.zeros((0, 0), np.uint8)
    for start in range(0, len(values), ENCODED):
        some = encode(values[start : start + ENCODED])
        if not start:
            encoded = np.empty((len(values), len(some[0])), np.uint8)
        encoded[start : start + len(some)] = np.frombuffer(b"".join(some), np.uint8).reshape(
            len(some), -1
        )
    return encoded
