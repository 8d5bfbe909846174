"""Equilibrium Propagation in float64, short and independent: what the machine is measured against.

Source: B. Scellier and Y. Bengio, "Equilibrium Propagation: Bridging the Gap between Energy-Based
Models and Backpropagation", Frontiers in Computational Neuroscience 11:24, 2017 (section numbers
below). Two deviations, both those of the machine: the hard sigmoid bounds the states themselves
(so rho(s) = s inside, as in the discrete step of eq. 43), and a phase minimises layer by layer
instead of following the gradient flow.

A network of L weight layers has sizes n_0 (input) .. n_L (output). ``weights[l]`` is W_l of shape
(n_{l+1}, n_l), ``biases[l]`` of shape (n_{l+1},). ``states`` is the list s_1 .. s_L (hidden layers
and output) of shapes (n_l,); the input x = s_0 of shape (n_0,) is clamped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Convolutions", "Reference", "Relaxed", "Resistors"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass
class Relaxed:
    """Where a phase ended.

    Members
    -------
    states
        s_1 .. s_L.
    sweeps
        Sweeps until nothing moved by more than the tolerance (that sweep included), or the cap.
    settled
        Whether the tolerance was reached.
    """

    states: list[Vector]
    sweeps: int
    settled: bool


@dataclass
class Reference:
    """A layered Hopfield-type network (section 2, with the layers of section 5).

    Members
    -------
    weights, biases
        See the module.
    feedback
        Factor gamma of what comes from the layer above, in every layer. Phases then minimise
        sum_l gamma^(l-1) E_l, E_l the terms of layer l; updates are over gamma^(L-l).
    """

    weights: list[Matrix]
    biases: list[Vector]
    feedback: float = 1.0

    @property
    def depth(self) -> int:
        return len(self.weights)

    def energy(self, x: Vector, states: list[Vector]) -> float:
        """E = 1/2 sum_l |s_l|^2 - sum_l s_{l+1}^T W_l s_l - sum_l b_l . s_{l+1} (section 2); with
        ``feedback`` each layer's terms times gamma^(l-1)."""
        layers = [x, *states]
        energy = 0.0
        for i, (above, w, b) in enumerate(zip(states, self.weights, self.biases, strict=False)):
            terms = 0.5 * above @ above - above @ w @ layers[i] - b @ above
            energy += self.feedback**i * terms
        return float(energy)

    @staticmethod
    def cost(output: Vector, target: Vector) -> float:
        """C = 1/2 |y - o|^2 (section 2)."""
        return float(0.5 * np.sum((target - output) ** 2))

    def current(self, x: Vector, states: list[Vector], layer: int) -> Vector:
        """Minus the gradient of E - 1/2 |s_l|^2 by s_l, l = 1 .. L (section 2): shape (n_l,)."""
        below = x if layer == 1 else states[layer - 2]
        a = self.weights[layer - 1] @ below + self.biases[layer - 1]
        if layer < self.depth:
            a = a + self.feedback * self.weights[layer].T @ states[layer]
        return a

    # Phases (section 2) ----------------------------------------------------------------

    def relax(
        self,
        x: Vector,
        start: list[Vector] | None = None,
        *,
        nudge: Callable[[Vector], Vector] = lambda a: a,
        upwards: bool = True,
        tolerance: float = 1e-12,
        cap: int = 100_000,
    ) -> Relaxed:
        """Minimise over the box [0, 1], one layer after another, each exactly.

        ``nudge`` maps the output's current to what is clipped. ``upwards``: from layer 1 to L in
        a sweep, else from L to 1. Starts from zeros if there is no ``start``.
        """
        states = [np.zeros(len(b)) for b in self.biases] if start is None else list(start)
        order = range(1, self.depth + 1) if upwards else range(self.depth, 0, -1)
        for sweep in range(1, cap + 1):
            moved = 0.0
            for layer in order:
                a = self.current(x, states, layer)
                new = np.clip(nudge(a) if layer == self.depth else a, 0.0, 1.0)
                moved = max(moved, float(np.max(np.abs(new - states[layer - 1]))))
                states[layer - 1] = new
            if moved <= tolerance:
                return Relaxed(states, sweep, True)
        return Relaxed(states, cap, False)

    def free(self, x: Vector, **how) -> Relaxed:
        """The free phase: argmin E."""
        return self.relax(x, **how)

    def nudged(self, x: Vector, target: Vector, beta: float, free: list[Vector], **how) -> Relaxed:
        """The nudge as a fixed current beta (y - o_free): argmin E - beta (y - o_free) . o.

        The true cost made linear around the free output: the gradient at beta -> 0 is
        the same.
        """
        current = beta * (target - free[-1])
        return self.relax(x, free, nudge=lambda a: a + current, upwards=False, **how)

    def nudged_by_cost(
        self, x: Vector, target: Vector, beta: float, free: list[Vector], **how
    ) -> Relaxed:
        """The true cost (section 2): argmin E + beta C; the output is (a + beta y) / (1 + beta)."""

        def nudge(a: Vector) -> Vector:
            return (a + beta * target) / (1 + beta)

        return self.relax(x, free, nudge=nudge, upwards=False, **how)

    # Learning (sections 2, 3) --------------------------------------------------------------

    def update(
        self, x: Vector, first: list[Vector], second: list[Vector], distance: float
    ) -> tuple[list[Matrix], list[Vector]]:
        """Minus the estimated gradient: (s s^T in ``first`` - s s^T in ``second``) / distance.

        One-sided (eq. 10): nudged, free and beta. Centered: +beta, -beta and 2 beta. Returns
        the changes of weights and biases, to be scaled by a learning rate.
        """
        a, b = [x, *first], [x, *second]
        units = [distance * self.feedback ** (self.depth - i) for i in range(1, self.depth + 1)]
        dw = [
            (np.outer(a[i + 1], a[i]) - np.outer(b[i + 1], b[i])) / unit
            for i, unit in enumerate(units)
        ]
        return dw, [(p - m) / unit for p, m, unit in zip(first, second, units, strict=True)]

    def one_sided(
        self, x: Vector, target: Vector, beta: float, *, by_cost: bool = False, **how
    ) -> tuple[list[Matrix], list[Vector]]:
        """EP's update from a free and one nudged phase (beta of either sign)."""
        nudged = self.nudged_by_cost if by_cost else self.nudged
        free = self.free(x, **how).states
        return self.update(x, nudged(x, target, beta, free, **how).states, free, beta)

    def centered(
        self, x: Vector, target: Vector, beta: float, *, by_cost: bool = False, **how
    ) -> tuple[list[Matrix], list[Vector]]:
        """EP's update from +beta and -beta (Laborieux et al. 2021): no error linear in
        beta."""
        nudged = self.nudged_by_cost if by_cost else self.nudged
        free = self.free(x, **how).states
        plus = nudged(x, target, beta, free, **how).states
        minus = nudged(x, target, -beta, free, **how).states
        return self.update(x, plus, minus, 2 * beta)

    def adjoint(
        self, x: Vector, target: Vector, free: list[Vector]
    ) -> tuple[list[Matrix], list[Vector]]:
        """The gradient of C at a free fixed point by recurrent backpropagation, in closed form.

        The linearised side network e = D (J e + y - o), J the symmetric matrix of W, D the
        derivative of the clip, is solved as a linear system (Scellier & Bengio 2019, section 2.3);
        dC/dW_l = -(e_l s_{l-1}^T + s_l e_{l-1}^T), with e = 0 at the input. Shapes as `gradient`.
        """
        ends = np.cumsum([0, *map(len, free)])
        parts = [slice(*pair) for pair in pairwise(ends)]
        joint = np.zeros((ends[-1], ends[-1]))
        for i in range(1, self.depth):
            joint[parts[i], parts[i - 1]] = self.weights[i]
            joint[parts[i - 1], parts[i]] = self.weights[i].T
        states = np.concatenate(free)
        inside = ((states > 0) & (states < 1)).astype(float)
        pull = np.zeros(ends[-1])
        pull[parts[-1]] = target - free[-1]
        e = np.linalg.solve(np.eye(ends[-1]) - inside[:, None] * joint, inside * pull)
        errors: list[Vector] = [np.asarray(e[part], np.float64) for part in parts]
        dw: list[Matrix] = [-np.outer(errors[0], x)]
        for i in range(1, self.depth):
            dw.append(-np.outer(errors[i], free[i - 1]) - np.outer(free[i], errors[i - 1]))
        db: list[Vector] = [np.negative(error) for error in errors]
        return dw, db

    def forward(self, x: Vector, activation: str) -> list[Vector]:
        """States of one forward pass, hidden units "clip" (to [0, 1]) or "relu", outputs linear
        with "relu"."""
        states = [x]
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            a = w @ states[-1] + b
            if activation == "clip":
                a = np.clip(a, 0.0, 1.0)
            elif i + 1 < self.depth:
                a = np.maximum(a, 0.0)
            states.append(a)
        return states[1:]

    def backpropagation(
        self, x: Vector, target: Vector, activation: str
    ) -> tuple[list[Matrix], list[Vector]]:
        """The gradient of C at the output of `forward`. Shapes as `gradient`."""
        states = self.forward(x, activation)
        high = 1.0 if activation == "clip" else np.inf
        last = activation == "relu"
        error = states[-1] - target
        dw: list[Matrix] = []
        db: list[Vector] = []
        for i in range(self.depth - 1, -1, -1):
            if not (last and i + 1 == self.depth):
                error = error * ((states[i] > 0) & (states[i] < high))
            dw.insert(0, np.outer(error, states[i - 1] if i else x))
            db.insert(0, error)
            error = self.weights[i].T @ error
        return dw, db

    def gradient(
        self, x: Vector, target: Vector, *, step: float = 1e-6, **how
    ) -> tuple[list[Matrix], list[Vector]]:
        """The gradient of C at the free fixed point by weights and biases, by central finite
        differences: shapes of `weights` and `biases`. EP's update estimates its negative."""
        gradients = []
        for parameter in (*self.weights, *self.biases):
            gradient = np.zeros_like(parameter)
            for index in np.ndindex(parameter.shape):
                kept = parameter[index]
                costs = []
                for sign in (1, -1):
                    parameter[index] = kept + sign * step
                    costs.append(self.cost(self.free(x, **how).states[-1], target))
                parameter[index] = kept
                gradient[index] = (costs[0] - costs[1]) / (2 * step)
            gradients.append(gradient)
        return gradients[: self.depth], gradients[self.depth :]

    def crossings(self, *phases: list[Vector]) -> bool:
        """Whether a unit sits at a bound in one phase and elsewhere in another: the gradient is
        then not defined, or not what EP estimates."""
        sides = [
            np.concatenate([np.where(s <= 0, -1, np.where(s >= 1, 1, 0)) for s in states])
            for states in phases
        ]
        return any((side != sides[0]).any() for side in sides)


@dataclass
class Directed(Reference):
    """A network whose connections have a weight for each direction, and so no energy.

    s_l = clip(W_l s_{l-1} + b_l + B_{l+1}^T s_{l+1}); the gradient of C at the fixed point is that
    of implicit differentiation (Almeida 1987, Pineda 1987).

    Members
    -------
    backward
        B_2 ... B_L, of the shapes of `weights`.
    """

    backward: list[Matrix] = field(default_factory=list)

    def current(self, x: Vector, states: list[Vector], layer: int) -> Vector:
        below = x if layer == 1 else states[layer - 2]
        a = self.weights[layer - 1] @ below + self.biases[layer - 1]
        return a + self.backward[layer - 1].T @ states[layer] if layer < self.depth else a

    def adjoint(
        self, x: Vector, target: Vector, free: list[Vector]
    ) -> tuple[list[Matrix], list[Vector]]:
        """The gradient of C by weights, then backward ones, and by biases.

        With s = clip(A s + b): e = D (A^T e + y - o), dC/dA = -e s^T.
        """
        ends = np.cumsum([0, *map(len, free)])
        parts = [slice(*pair) for pair in pairwise(ends)]
        a = np.zeros((ends[-1], ends[-1]))
        for i in range(1, self.depth):
            a[parts[i], parts[i - 1]] = self.weights[i]
            a[parts[i - 1], parts[i]] = self.backward[i - 1].T
        states, pull = np.concatenate(free), np.zeros(ends[-1])
        pull[parts[-1]] = target - free[-1]
        inside = ((states > 0) & (states < 1)).astype(float)
        e = np.linalg.solve(np.eye(ends[-1]) - inside[:, None] * a.T, inside * pull)
        errors: list[Vector] = [np.asarray(e[part], np.float64) for part in parts]
        dw: list[Matrix] = [
            -np.outer(error, below) for error, below in zip(errors, [x, *free], strict=False)
        ]
        dw += [-np.outer(above, error) for above, error in zip(free[1:], errors, strict=False)]
        return dw, [np.negative(error) for error in errors]


@dataclass
class Convolutions:
    """Convolutional layers as a `Reference` whose matrices repeat the kernels.

    Members
    -------
    kernels
        Of shape (channels, height, width, channels below).
    biases
        One a channel.
    sizes
        Rows and columns of the input map and of each layer's.
    strides, paddings
        Of each layer.
    feedback
        As of `Reference`.
    """

    kernels: list[NDArray[np.float64]]
    biases: list[Vector]
    sizes: list[tuple[int, int]]
    strides: list[int]
    paddings: list[int]
    feedback: float = 1.0

    def places(self, layer: int) -> NDArray[np.int64]:
        """Which kernel element joins neuron and neuron below, + 1, (above, below); 0: none.
        Neurons row by row, channels last."""
        out, high, wide, into = self.kernels[layer].shape
        (rows, columns), (above_rows, above_columns) = self.sizes[layer : layer + 2]
        stride, padding = self.strides[layer], self.paddings[layer]
        elements = 1 + np.arange(out * high * wide * into).reshape(out, high, wide, into)
        joined = np.zeros((above_rows, above_columns, out, rows, columns, into), dtype=np.int64)
        for y, x, ky, kx in np.ndindex(above_rows, above_columns, high, wide):
            row, column = y * stride + ky - padding, x * stride + kx - padding
            if 0 <= row < rows and 0 <= column < columns:
                joined[y, x, :, row, column] = elements[:, ky, kx]
        return joined.reshape(above_rows * above_columns * out, rows * columns * into)

    def dense(self) -> Reference:
        """The same network with a weight for each pair of neurons."""
        weights = [np.append(0.0, kernel)[self.places(i)] for i, kernel in enumerate(self.kernels)]
        counts = [rows * columns for rows, columns in self.sizes[1:]]
        biases = [np.tile(b, n) for b, n in zip(self.biases, counts, strict=True)]
        return Reference(weights, biases, self.feedback)

    def shared(
        self, weights: list[Matrix], biases: list[Vector]
    ) -> tuple[list[NDArray[np.float64]], list[Vector]]:
        """Changes or gradients by pairs of neurons, added up for each kernel element and bias."""
        kernels = [
            np.bincount(self.places(i).ravel(), w.ravel(), kernel.size + 1)[1:].reshape(
                kernel.shape
            )
            for i, (w, kernel) in enumerate(zip(weights, self.kernels, strict=True))
        ]
        sums = [
            b.reshape(-1, len(own)).sum(axis=0) for b, own in zip(biases, self.biases, strict=True)
        ]
        return kernels, sums  # pyright: ignore[reportReturnType]


@dataclass
class Resistors:
    """A layered network of resistors: nodes, sources and conductances, solved as a linear system.

    E = 1/2 sum g_jk (v_j - v_k)^2, inputs and a source of 1 held (Anisetti et al. 2024, as we
    recall it; no figures of theirs are reproduced).

    Members
    -------
    conductances, leaks
        As `Reference.weights` and `Reference.biases`; a leak leads to the source of 1.
    """

    conductances: list[Matrix]
    leaks: list[Vector]

    def _system(self, x: Vector) -> tuple[Matrix, Vector, list[slice]]:
        """Kirchhoff's law, A v = i, and which nodes are of which layer."""
        ends = np.cumsum([0, *map(len, self.leaks)])
        parts = [slice(*pair) for pair in pairwise(ends)]
        a, current = np.zeros((ends[-1], ends[-1])), np.concatenate(self.leaks)
        a += np.diag(current)
        for i, (part, g) in enumerate(zip(parts, self.conductances, strict=True)):
            a[part, part] += np.diag(g.sum(axis=1))
            if i == 0:
                current[part] += g @ x
                continue
            below = parts[i - 1]
            a[part, below] -= g
            a[below, part] -= g.T
            a[below, below] += np.diag(g.sum(axis=0))
        return a, current, parts

    def voltages(self, x: Vector) -> list[Vector]:
        """Of every layer of nodes, no current injected."""
        a, current, parts = self._system(x)
        v = np.linalg.solve(a, current)
        return [np.asarray(v[part], dtype=np.float64) for part in parts]

    def adjoint(self, x: Vector, target: Vector) -> tuple[list[Matrix], list[Vector]]:
        """The gradient of 1/2 |y - o|^2: (v_j - v_k) (b_j - b_k), b the response to y - o."""
        a, current, parts = self._system(x)
        v = np.linalg.solve(a, current)
        pull = np.zeros(len(v))
        pull[parts[-1]] = target - v[parts[-1]]
        b = np.linalg.solve(a, pull)
        voltages = [x, *(v[part] for part in parts)]
        responses = [np.zeros(len(x)), *(b[part] for part in parts)]
        dg: list[Matrix] = [
            np.subtract.outer(voltages[i + 1], voltages[i])
            * np.subtract.outer(responses[i + 1], responses[i])
            for i in range(len(parts))
        ]
        leaks: list[Vector] = [np.asarray((v[part] - 1) * b[part], np.float64) for part in parts]
        return dg, leaks
