"""What every component of the gateware is made of."""

from typing import TYPE_CHECKING, Any

from amaranth.lib import wiring

__all__ = ["Component"]


class Component(wiring.Component):
    """A component whose members come from the signature that it is made with.

    Amaranth makes them at run time, most in a width that the configuration decides. They are
    documented in the class's docstring; to type checkers a name may be any of them.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
