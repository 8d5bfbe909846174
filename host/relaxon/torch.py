"""PyTorch beside the machine: weights both ways, and Equilibrium Propagation on the same weights.

`EnergyModel` is Equilibrium Propagation written as an energy that autograd differentiates, and
nothing else: a second opinion on what the machine computes, with GPUs and optimisers of PyTorch::

    model = EnergyModel(lab.network, lab.settings, lab.weights())
    model.gradients(x, y)   # beside lab.train_step(x, y)

Needs the extra ``torch``. Files of weights are read and written by `relaxon.checkpoint`
(``.safetensors``), which needs no PyTorch.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from relaxon_isa import ConfigError, ToolError, install

from . import checks
from .network import Conv, Network
from .rules import settings_for
from .rules.settings import RuleSettings
from .torch_order import from_torch, named, paired, to_torch

try:
    import torch  # pyright: ignore[reportMissingImports] (optional)
    from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ToolError(f"relaxon.torch needs PyTorch: {install('torch')}") from error

__all__ = ["EnergyModel", "from_state_dict", "to_state_dict"]


def to_state_dict(network: Network, weights: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """``layers.0.weight``, ``layers.0.bias``, ... as `EnergyModel` has them, float64, from matrices
    of `Network.shapes` (bias last)."""
    found = checks.weights(weights, network.shapes)
    tensors = named(to_torch(network, found))
    return {name: torch.from_numpy(np.ascontiguousarray(w)) for name, w in tensors.items()}


def from_state_dict(network: Network, state: Mapping[str, Tensor]) -> list[np.ndarray]:
    """Inverse, of any module whose parameters are weights and biases of `torch.nn.Conv2d` and
    `torch.nn.Linear`, input side first; a bias that is not there is 0.

    Raises DataError for other parameters, and for other shapes than the network's.
    """
    arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in state.items()}
    return from_torch(network, paired("the state_dict", arrays))


class EnergyModel(nn.Module):
    """A network that settles: the energy, its minima, and centered EP's estimate of the gradient.

    E = sum_l gamma^(l-1) (1/2 |s_l|^2 - s_l . (W_l s_(l-1) + b_l)) over states in [0, 1] (Scellier
    & Bengio 2017, section 2; convolutions as in Laborieux et al. 2021), gamma = 2**-feedback. A
    phase minimises it layer by layer, as the machine's program does.

    Parameters
    ----------
    network
        A `Network`, or text.
    settings
        Of rule ep-centered: ``beta``, ``feedback``, ``input_offset`` and ``output`` are followed;
        grid and caps are the machine's. Default: the rule's own.
    weights
        Real matrices, bias last, as of `Lab.weights`. Default: PyTorch's own initial values.

    Inputs ``x`` are (samples, features) as in a `Dataset`, or images (samples, channels, rows,
    columns); states are a list of (samples, neurons) or such images, layers 1 to depth. Parameters
    are float64. Raises ConfigError for other rules and architectures.
    """

    def __init__(
        self,
        network: Network | str,
        settings: RuleSettings | None = None,
        weights: Sequence[np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.network = Network.parse(network)
        self.settings = s = settings or settings_for("ep-centered", self.network)
        if s.name != "ep-centered" or s.architecture != "layers" or s.objective not in FOLLOWED:
            raise ConfigError(
                f"rule {s.name}, architecture {s.architecture}, objective {s.objective}: PyTorch's "
                "side follows ep-centered on plain layers, for the squared error"
            )
        self.gamma = 2.0**-s.feedback
        self.layers = nn.ModuleList(
            nn.Conv2d(
                below.channels, layer.channels, layer.kernel, layer.stride, layer.padding
            ).double()
            if isinstance(layer, Conv)
            else nn.Linear(below.height * below.width * below.channels, above.channels).double()
            for layer, below, above in zip(
                self.network.layers[1:], self.network.maps, self.network.maps[1:], strict=False
            )
        )
        if weights is not None:
            self.load_state_dict(to_state_dict(self.network, weights))

    def terms(self, x: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
        """Each layer's part of the energy, (samples,)."""
        found, below = [], self._input(x)
        for i, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            current = layer(below if isinstance(layer, nn.Conv2d) else below.flatten(1))
            part = (0.5 * state * state - state * current).flatten(1).sum(1)
            found.append(self.gamma**i * part)
            below = state
        return found

    def energy(self, x: Tensor, states: Sequence[Tensor]) -> Tensor:
        """Of each sample, (samples,)."""
        return torch.stack(self.terms(x, states)).sum(0)

    # Phases

    def free(self, x: Tensor, **how) -> list[Tensor]:
        """The minimum of the energy; ``how``: as of `settle`."""
        maps = self.network.maps[1:]
        zeros = [
            torch.zeros(len(x), *self._shape(layer, m), dtype=torch.float64, device=x.device)
            for layer, m in zip(self.network.layers[1:], maps, strict=True)
        ]
        return self.settle(x, zeros, **how)

    def nudged(self, x: Tensor, y: Tensor, free: Sequence[Tensor], beta: float, **how):
        """The minimum under a current beta (y - outputs of ``free``) into the outputs."""
        return self.settle(x, free, nudge=beta * (y - free[-1]), upwards=False, **how)

    def settle(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        *,
        nudge: Tensor | None = None,
        upwards: bool = True,
        tolerance: float = 1e-10,
        cap: int = 10_000,
    ) -> list[Tensor]:
        """Sweeps over the layers, each to its minimum, until nothing moves by more than the
        tolerance: ``upwards`` from layer 1, else from the outputs."""
        states, depth = [s.detach() for s in states], len(states)
        for _ in range(cap):
            moved = 0.0
            for i in range(depth) if upwards else reversed(range(depth)):
                state = states[i].requires_grad_()
                touched = self.terms(x, states)[i : i + 2]
                (slope,) = torch.autograd.grad(torch.stack(touched).sum(), state)
                new = state.detach() - slope / self.gamma**i
                if i + 1 == depth and nudge is not None:
                    new = new + nudge
                if i + 1 < depth or self.settings.output != "linear":
                    new = new.clamp(0, 1)
                moved = max(moved, float((new - state.detach()).abs().max()))
                states[i] = new
            if moved <= tolerance:
                break
        return states

    # Learning

    def gradients(self, x: Tensor, y: Tensor, **how) -> list[np.ndarray]:
        """EP's estimate of the gradient of 1/2 |y - o|^2, summed over samples, as matrices of
        `Network.shapes`: what the machine's update is minus the learning rate times."""
        found = self._estimate(x, y, **how)
        pairs = [(w.numpy(), b.numpy()) for w, b in zip(found[::2], found[1::2], strict=True)]
        return from_torch(self.network, pairs)

    def backward(self, x: Tensor, y: Tensor, **how) -> None:
        """Add the estimate, a mean over samples, to ``.grad`` of the parameters, for an optimiser
        of PyTorch."""
        for parameter, found in zip(self.parameters(), self._estimate(x, y, **how), strict=True):
            mean = found / len(x)
            parameter.grad = mean if parameter.grad is None else parameter.grad + mean

    def _estimate(self, x: Tensor, y: Tensor, **how) -> list[Tensor]:
        """(dE/dw at +beta - dE/dw at -beta) / (2 beta gamma^(depth-1)) (Laborieux et al. 2021)."""
        beta, free = self.settings.beta, self.free(x, **how)
        plus, minus = (self.nudged(x, y, free, b, **how) for b in (beta, -beta))
        difference = (self.energy(x, plus) - self.energy(x, minus)).sum()
        unit = 2 * beta * self.gamma ** (self.network.depth - 1)
        return [*torch.autograd.grad(difference / unit, [*self.parameters()])]

    # The machine's order

    def to_machine(self, states: Sequence[Tensor]) -> list[np.ndarray]:
        """States as `Lab.states` has them, (samples, neurons) each: rows, columns, channels."""
        last = [s.permute(0, 2, 3, 1) if s.ndim == 4 else s for s in states]
        return [s.detach().cpu().flatten(1).numpy() for s in last]

    def from_machine(self, states: Sequence[np.ndarray]) -> list[Tensor]:
        """States of one sample, as `Lab.states` gives them, or of several, (samples, neurons)."""
        layers, maps = self.network.layers[1:], self.network.maps[1:]
        found = []
        for s, layer, m in zip(states, layers, maps, strict=True):
            rows = torch.from_numpy(np.atleast_2d(np.asarray(s, np.float64)))
            found.append(_first(rows, m) if isinstance(layer, Conv) else rows)
        return found

    def _input(self, x: Tensor) -> Tensor:
        image = self.network.maps[0]
        x = x.double() - self.settings.input_offset
        return _first(x, image) if x.ndim == 2 and image.height * image.width > 1 else x

    def _shape(self, layer: object, m) -> tuple[int, ...]:
        return (m.channels, m.height, m.width) if isinstance(layer, Conv) else (m.channels,)


FOLLOWED = (None, "squared-error")


def _first(rows: Tensor, m) -> Tensor:
    """(samples, neurons), channels last, as images, channels first."""
    return rows.reshape(-1, m.height, m.width, m.channels).permute(0, 3, 1, 2)
