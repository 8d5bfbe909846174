"""What a board says of itself: its configuration, and a fingerprint of that and the contract."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache

from .config import CONTRACT_VERSION, ArrayConfig
from .document import contract
from .errors import DeviceError, RelaxonError
from .memory import INFO_BYTES

__all__ = ["PROTOCOL_LEVEL", "Identity", "decode_info", "encode_info", "fingerprint"]

PROTOCOL_LEVEL = 1
MAGIC = "relaxon"


@cache
def fingerprint(config: ArrayConfig) -> str:
    """16 hex digits over the configuration and the whole contract as its documents state it.

    Machines of equal fingerprints are interchangeable: programs, weights and cycles are the same
    bits. Any change of the documents' text changes it, so that no two states of the contract look
    alike. Raises ConfigError where the contract's sources, whose docstrings the documents are made
    from, are not installed; ``python -OO`` does no harm.
    """
    pages = contract({"": config}, "")
    text = json.dumps([CONTRACT_VERSION, config.to_json(), pages], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Identity:
    """What a board says of itself (`encode_info`)."""

    config: ArrayConfig
    fingerprint: str
    build: str
    clock_hz: int
    baud: int


def encode_info(config: ArrayConfig, *, build: str, clock_hz: int, baud: int) -> bytes:
    """The identity text: JSON, padded with zeros to `INFO_BYTES`."""
    text = json.dumps(
        {
            "magic": MAGIC,
            "protocol": PROTOCOL_LEVEL,
            "contract": CONTRACT_VERSION,
            "fingerprint": fingerprint(config),
            "build": build,
            "clock_hz": clock_hz,
            "baud": baud,
            "config": json.loads(config.to_json()),
        },
        separators=(",", ":"),
    ).encode()
    if len(text) > INFO_BYTES:
        raise DeviceError(f"identity of {len(text)} bytes: at most {INFO_BYTES}; shorten the build")
    return text.ljust(INFO_BYTES, b"\0")


def decode_info(data: bytes) -> Identity:
    """Read an identity text; refuse what this host does not understand, naming the older side."""
    try:
        info = json.loads(bytes(data).rstrip(b"\0"))
        magic = info["magic"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DeviceError("the device answers, but not as a relaxon board does") from error
    if magic != MAGIC:
        raise DeviceError(f"the device says it is {magic!r}, not a relaxon board")
    for name, ours in (("protocol", PROTOCOL_LEVEL), ("contract", CONTRACT_VERSION)):
        theirs = info.get(name)
        if theirs != ours:
            older = "the board" if isinstance(theirs, int) and theirs < ours else "this host"
            raise DeviceError(
                f"{name} level: board {theirs}, host {ours}; {older} is older: "
                f"{'load a new bitstream' if older == 'the board' else 'upgrade relaxon'}"
            )
    try:
        config = ArrayConfig.from_json(json.dumps(info["config"]))
        said = Identity(
            config=config,
            fingerprint=str(info["fingerprint"]),
            build=str(info["build"]),
            clock_hz=int(info["clock_hz"]),
            baud=int(info["baud"]),
        )
        ours = fingerprint(config)
    except (
        ArithmeticError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        RelaxonError,
    ) as error:
        raise DeviceError(
            f"the board's identity is damaged or incomplete ({type(error).__name__}: {error})"
        ) from error
    if ours != said.fingerprint:
        raise DeviceError(
            f"fingerprint: board {said.fingerprint}, computed {ours}: the bitstream was built "
            "from another state of the contract; build and load it again, or use the relaxon that "
            "built it"
        )
    return said
