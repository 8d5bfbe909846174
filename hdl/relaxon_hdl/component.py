"""What every component of the gateware is made of."""

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Module
from amaranth.lib import wiring

__all__ = ["Component"]


class Component(wiring.Component):
    """A component whose members come from the signature that it is made with.

    Amaranth makes them at run time, most in a width that the configuration decides. They are
    documented in the class's docstring; to type checkers a name may be any of them.

    A subclass writes `build`, which is Amaranth's `elaborate` without what is the same everywhere:
    the empty module, and the platform, which no component here asks.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.build(m)
        return m

    def build(self, m: Module) -> None:
        """Add this component's logic and parts to its module ``m``."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
