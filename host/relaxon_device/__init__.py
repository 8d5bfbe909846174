"""Devices: the golden model, the virtual board and boards on serial ports, behind one interface."""

from .base import Device
from .serial import SerialDevice

__all__ = ["Device", "SerialDevice"]
