"""The record of a run: what was asked, on which machine, and what it came to, to be repeated."""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from errno import EINVAL
from importlib import metadata
from math import isclose
from pathlib import Path
from typing import Any, Self

import numpy as np

from relaxon_isa import CONTRACT_VERSION, ArrayConfig, DataError, DifferenceError, Register

from . import checks, files
from .backends import open_device
from .checkpoint import RECORD, kind_of
from .datasets import load
from .network import Network
from .rules import rule_digest
from .runs import check_spec, initial_of
from .training import Progress, Trainer, TrainSettings, silent

__all__ = ["RunRecord", "digest_of", "reproduce"]

VERSION = 2
OF_THE_BOARD = {
    register.name
    for register in (
        Register.WAIT_STALLS,
        Register.EMIT_STALLS,
        Register.LINK_ERRORS,
        Register.LINK_DROPS,
        Register.MEMORY,
    )
}
"""Counters that differ from run to run on a board, and the size of its sample memory."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run, whole. All members are JSON values.

    Parameters
    ----------
    spec
        What was asked: data and their digest, network, settings (`relaxon.runs.spec_of`), and
        ``init``, the digest of the weights that it started from, if they were given, and
        ``every`` (`Trainer`), if it stopped for callbacks.
    machine
        ``config``, its ``fingerprint``, the ``contract``'s version, ``backend``, ``build``.
    versions
        Of relaxon, Python and numpy.
    history
        An entry an epoch, as `Trainer.history`; ``weights`` in it, where it is, is `digest_of` all
        integer weights after the epoch.
    counters
        Of the machine at the end, keys included, by name.
    weights
        `digest_of` the integer weights at the end.
    matrices
        The same of each matrix, by `Layout.names`.
    """

    spec: dict
    machine: dict
    versions: dict
    history: list
    counters: dict
    weights: str
    matrices: dict

    @classmethod
    def of(cls, trainer: Trainer, spec: dict, backend: str) -> Self:
        """The record of what a trainer did so far."""
        identity = trainer.identity
        names, weights = trainer.layout.names, trainer.weights()
        return cls(
            spec=json.loads(json.dumps(spec)),  # as it will be read: lists for tuples
            machine={
                "config": json.loads(identity.config.to_json()),
                "fingerprint": identity.fingerprint,
                "contract": CONTRACT_VERSION,
                "backend": backend,
                "build": identity.build,
            },
            versions={
                "relaxon": metadata.version("relaxon"),
                "python": platform.python_version(),
                "numpy": np.__version__,
            },
            history=list(trainer.history),
            counters={r.name: int(v) for r, v in trainer.counters().items()},
            weights=digest_of(weights),
            matrices={n: digest_of([w]) for n, w in zip(names, weights, strict=True)},
        )

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all. Raises DataError."""
        document = {"format": RECORD, "version": VERSION, **asdict(self)}
        files.write(path, json.dumps(document, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises DataError for what is no record, or one that this version does not know."""
        remedy = "'relaxon train --record run.json' writes one"
        try:
            if Path(path).exists() and not Path(path).is_file():  # a device is without an end
                raise OSError(EINVAL, "no file")
            document: Any = json.loads(Path(path).read_text())
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}; {remedy}") from error
        except ValueError as error:
            found = kind_of(path)
            said = f"it is a file of {found}" if found else f"it is no JSON: {error}"
            raise DataError(f"{path}: no record of a run: {said}; {remedy}") from error
        kind = document.get("format") if isinstance(document, dict) else None
        if kind != RECORD:
            raise DataError(
                f"{path}: no record of a run: its format is {kind!r}, not {RECORD!r}; {remedy}"
            )
        if document.get("version") != VERSION:
            raise DataError(
                f"{path}: a record of version {document.get('version')}, known is {VERSION}: "
                "read it with the relaxon that wrote it"
            )
        members = {name: document[name] for name in document.keys() - {"format", "version"}}
        wanted = cls.__annotations__
        if odd := sorted(members.keys() ^ wanted.keys()):
            raise DataError(f"{path}: {', '.join(odd)}: not known, or absent")
        kinds = {"history": list, "weights": str}
        if odd := [n for n, v in members.items() if not isinstance(v, kinds.get(n, dict))]:
            raise DataError(f"{path}: {', '.join(sorted(odd))}: damaged")
        check_spec(str(path), members["spec"])
        with checks.naming(str(path)):
            TrainSettings.from_json(members["spec"]["settings"])
        try:
            checks.history(members["history"])
        except ValueError as error:
            raise DataError(f"{path}: damaged ({error})") from error
        if not isinstance(members["machine"].get("fingerprint"), str):
            raise DataError(f"{path}: damaged, it does not say the machine's fingerprint")
        return cls(**members)

    def asked(self) -> tuple[Network, TrainSettings, ArrayConfig]:
        """Network, settings and machine as they were. Raises DataError if they are damaged."""
        try:
            return (
                Network.parse(self.spec["network"]),
                TrainSettings.from_json(self.spec["settings"]),
                ArrayConfig.from_json(json.dumps(self.machine["config"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the record is damaged ({type(error).__name__}: {error})") from error

    def differences(self, other: "RunRecord") -> list[str]:
        """What came out otherwise in another run of the same: texts, none if all is identical.

        The first epoch that differs, and in what; which counters; which matrices of weights."""
        said = []
        for mine, its in zip(self.history, other.history, strict=False):
            if odd := [k for k in {**mine, **its} if not _same(mine.get(k), its.get(k))]:
                what = "; ".join(f"{k} was {mine.get(k)}, is {its.get(k)}" for k in odd)
                said.append(f"history: first in epoch {mine.get('epoch')}: {what}")
                break
        if len(self.history) != len(other.history):
            said.append(f"history: {len(self.history)} epochs were, {len(other.history)} are")
        moved = [
            f"{name} {value} and {other.counters.get(name)}"
            for name, value in self.counters.items()
            if name not in OF_THE_BOARD and value != other.counters.get(name)
        ]
        if moved:
            said.append(f"counters: {', '.join(moved)}")
        names = {**self.matrices, **other.matrices}
        odd = [n for n in names if self.matrices.get(n) != other.matrices.get(n)]
        if odd or self.weights != other.weights:
            same = [n for n in names if n not in odd]
            said.append(
                f"weights: {', '.join(odd) or 'all'} differ, {', '.join(same) or 'none'} identical"
            )
        return said


def _same(one: Any, other: Any) -> bool:
    """Equal, but for the last bits of means of floats, whose order of summing is numpy's choice."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(v, other[k]) for k, v in one.items())
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-12)
    return one == other


def digest_of(weights: Sequence[np.ndarray]) -> str:
    """32 hex digits over matrices: shapes, and values as 64-bit words."""
    digest = hashlib.sha256()
    for w in weights:
        digest.update(f"{w.shape}".encode())
        digest.update(w.astype("<i8" if w.dtype.kind == "i" else "<f8").tobytes())
    return digest.hexdigest()[:32]


def reproduce(
    record: RunRecord,
    *,
    backend: str = "golden",
    data: str | None = None,
    rule: str | None = None,
    init: Path | None = None,
    progress: Progress = silent,
    **options: object,
) -> RunRecord:
    """Do a run again, on any backend; returns its record, for `RunRecord.differences`.

    Golden and virtual are built as the machine of the record. ``data``, ``rule`` (file.py:Class)
    and ``init`` say where those are now. ``options`` go to the backend. Raises DifferenceError
    before the run where data, rule or machine are not those of the record.
    """
    spec, machine = record.spec, record.machine
    if machine.get("contract") != CONTRACT_VERSION:
        raise DifferenceError(
            f"machine: the run was made under contract {machine.get('contract')}, this is "
            f"{CONTRACT_VERSION}: repeat it with the relaxon that made it "
            f"({record.versions.get('relaxon')})"
        )
    network, settings, config = record.asked()
    if rule:
        settings = replace(settings, rule=replace(settings.rule, name=rule))
    if rule_digest(settings.rule.name) != spec.get("rule_digest"):
        raise DifferenceError(
            f"rule: {settings.rule.name} is not what the run used: --rule says where that is"
        )
    dataset = load(spec["data"] if data is None else data, **spec.get("data_options", {}))
    if dataset.digest != spec["data_digest"]:
        raise DifferenceError(
            f"data: digest of {dataset.name} is {dataset.digest}, the run's data had "
            f"{spec['data_digest']}: --data says where those are"
        )
    weights = initial_of(init, network, settings) if init else None
    if spec.get("init") != (digest_of(weights) if weights else None):
        raise DifferenceError(
            "weights at the start: the run began with "
            + (
                "others: --init says where they are"
                if spec.get("init")
                else "drawn ones: no --init"
            )
        )
    with open_device(backend, config, **options) as device:
        if (found := device.identity.fingerprint) != machine["fingerprint"]:
            raise DifferenceError(
                f"machine: {backend} has fingerprint {found}, the run's machine had "
                f"{machine['fingerprint']}: golden and virtual are built as that one"
            )
        trainer = Trainer(device, network, dataset, settings, every=spec.get("every", 0))
        trainer.start(weights)
        while trainer.epoch < len(record.history):  # which may be of a run cut short
            entry = trainer.run_epoch(progress)
            before = record.history[trainer.epoch - 1]
            if test := before.get("test"):
                entry["test"] = trainer.evaluate(loss="mse" in test)
            if before.get("weights"):
                entry["weights"] = digest_of(trainer.weights())
        return RunRecord.of(trainer, spec, backend)
