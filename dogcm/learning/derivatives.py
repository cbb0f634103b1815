"""Checks of derivatives that any function can be run through, on one rank or on many.

* the tangent (forward mode) against central differences on a ladder of steps;
* Taylor's remainder ``|f(x + h d) - f(x) - h f'(x) d|``, which falls like ``h**2`` if the tangent
is right. A kink near ``x``, such as a limiter or ``max`` has, hides this along some directions; a
wrong tangent shows along all. So several directions, and both their ways, are tried until one shows
it;
* the transpose (reverse mode) against the tangent: ``<J d, y> = <d, J' y>``;
* finite gradients in every leaf;
* symmetry of Hessian-vector products.

On several ranks the function is what each rank computes of the whole: its tiles, or its own share
of a loss. Leaves that all ranks hold alike need the same direction on all ranks, as they need the
same value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.field import Field

LADDER = tuple(10.0**-k for k in range(1, 9))
# How well central differences can do: rounding over step plus step squared, at best about
# eps**(2/3).
FINITE_DIFFERENCE_LIMIT = 1e-6
DOT_PRODUCT_LIMIT = 1e-12
ORDER_TOLERANCE = 0.1
# Of the random directions, in the order in which they are tried.
SEEDS = (0, 4, 5)
# A remainder within this many roundings of the value says nothing.
_ROUNDINGS = 200.0


@dataclass(frozen=True)
class Check:
    """One figure and what it may be: at most ``limit``, or at least, if ``at_least``."""

    name: str
    value: float
    limit: float
    meaning: str
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """NaN never passes."""
        return bool(self.value >= self.limit if self.at_least else self.value <= self.limit)


@dataclass(frozen=True)
class DerivativeReport:
    """What :func:`check_derivatives` found.

    Attributes:
        ladder: steps, relative to the direction. differences: relative error of central differences
            at each.
        remainders: Taylor's remainder at each, relative to the function's value, along the
            direction that shows second order best. floor: below it is rounding.
        checks: figures with limits. not_finite: paths of leaves whose gradient is not finite on
            this rank.
    """

    ladder: tuple[float, ...]
    differences: tuple[float, ...]
    remainders: tuple[float, ...]
    floor: float
    checks: tuple[Check, ...]
    not_finite: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(c for c in self.checks if c.name == name)

    def __str__(self) -> str:
        lines = [f"{'step':>8}  {'differences':>11}  {'remainder':>10}  {'order':>6}"]
        order = [np.nan, *_orders(np.array(self.ladder), np.array(self.remainders))]
        for h, d, r, o in zip(self.ladder, self.differences, self.remainders, order):
            lines.append(
                f"{h:8.0e}  {d:11.2e}  {r:10.2e}  "
                f"{'' if np.isnan(o) or r < self.floor else f'{o:6.2f}'}"
            )
        for c in self.checks:
            sign = "at least" if c.at_least else "at most"
            verdict = "ok" if c.passed else "FELL SHORT"
            lines.append(
                f"{c.name:<20} {c.value:10.3g}  {sign} {c.limit:<8.3g} {verdict}: {c.meaning}"
            )
        if self.not_finite:
            lines.append(f"not finite: {', '.join(self.not_finite)}")
        return "\n".join(lines)


def check_derivatives(
    function: Callable,
    inputs: Any,
    directions: Any = None,
    psum: Callable | None = None,
    *,
    rank: int = 0,
    ladder: tuple[float, ...] = LADDER,
    decades: float = 4.0,
    limits: tuple[float, float] = (FINITE_DIFFERENCE_LIMIT, DOT_PRODUCT_LIMIT),
) -> DerivativeReport:
    """Run one function through all checks of first derivatives.

    Args:
        function: pytree to pytree, pure; compiled here. Across ranks: this rank's part.
        inputs: where it is differentiated; floating-point leaves.
        directions: a tree like ``inputs``, or the n-th (0, 1, 2) of several as a function of ``n``;
            default :func:`random_direction`. Steps are fractions of it.
        psum: sum over ranks, for example ``model.halos.psum``; None on one rank.
        ladder: falling steps. decades: over how many the remainder must be of second order.
        limits: largest relative errors that pass, of finite differences and of the dot product.

    Returns:
        the report, the same on every rank but for ``not_finite``.
    """
    total = jax.jit(psum) if psum is not None else lambda x: x
    along = _directions(directions, inputs, rank)
    value = jax.jit(function)
    tangent = jax.jit(lambda x, d: jax.jvp(function, (x,), (d,)))
    first = along[0]()
    f, slope = tangent(inputs, first)
    mismatch, back = _transposed(function, inputs, (first, f, slope), rank, total)
    bad = tuple(_not_finite(back))
    broken = float(total(jnp.asarray(float(len(bad) + len(_not_finite(slope))))))

    floor = _ROUNDINGS * _epsilon(f)
    ladders = (
        _ladder(value, inputs, d, tangent(inputs, d), ladder, total)
        for d in (direction() for direction in along)
    )
    order = lambda remainders: _second_order(ladder, remainders, floor, decades)
    differences, remainders = _clearest(ladders, order, decades, limits[0])
    covered = order(remainders)[0]
    checks = [
        Check("finite", broken, 0.0, "leaves of gradient and tangent that are not finite"),
        Check(
            "dot product",
            mismatch,
            limits[1],
            "<J d, y> against <d, J' y>",
        ),
        Check(
            "finite differences",
            min(differences),
            limits[0],
            "best agreement of the tangent",
        ),
        Check(
            "Taylor decades",
            covered,
            decades,
            "decades of steps over which the remainder is of order 2",
            True,
        ),
    ]
    return DerivativeReport(
        tuple(ladder), tuple(differences), tuple(remainders), floor, tuple(checks), bad
    )


def _transposed(function, inputs, linear, rank: int, total) -> tuple[float, Any]:
    """How far the transpose and the tangent disagree, relative, and a gradient by the transpose.

    ``linear``: a direction, the function's value, and its tangent along the direction.
    """
    d, f, slope = linear
    # Mostly along the tangent, so that the products do not cancel, but also where the tangent is
    # zero.
    noise = random_direction(f, rank, seed=1, scale=slope)
    y = jax.tree.map(lambda s, n: s + 0.5 * n, slope, noise)
    back = jax.jit(lambda x, y: jax.vjp(function, x)[1](y)[0])(inputs, y)
    left, right = _dot(slope, y, total), _dot(d, back, total)
    return _ratio(abs(left - right), max(abs(left), abs(right))), back


def _directions(directions, inputs, rank: int) -> list[Callable[[], Any]]:
    """Functions that make the directions to be tried, one after the other."""
    if directions is None:
        directions = lambda n: random_direction(inputs, rank, seed=SEEDS[n])
    if not callable(directions):
        return [lambda: directions]
    return [partial(directions, n) for n in range(len(SEEDS))]


def _clearest(ladders, order, decades: float, limit: float):
    """Differences and remainders of the direction, and the way along it, that show second order
    best; no more are tried once one passes."""
    found = []
    for differences, ways in ladders:
        found += [(differences, remainders) for remainders in ways]
        best = max(found, key=lambda pair: order(pair[1]))
        if order(best[1])[0] >= decades and min(best[0]) <= limit:
            break
    return best


def _ladder(value, inputs, d, linear, ladder, total):
    """By step: errors of central differences, and Taylor's remainders of both ways along ``d``.

    ``linear``: the function's value and its tangent along ``d``.
    """
    f, slope = linear
    step = lambda h: jax.tree.map(lambda x, t: x + h * t, inputs, d)
    norm = lambda t: np.sqrt(_dot(t, t, total))
    steepness, size = norm(slope), norm(f)
    rest = lambda a, h: norm(jax.tree.map(lambda a, b, s: a - b - h * s, a, f, slope))
    differences, ways = [], ([], [])
    for h in ladder:
        up, down = value(step(h)), value(step(-h))
        central = jax.tree.map(lambda a, b, s, h=h: (a - b) / (2 * h) - s, up, down, slope)
        differences.append(_ratio(norm(central), steepness))
        for way, at, signed in zip(ways, (up, down), (h, -h)):
            way.append(_ratio(rest(at, signed), size))
    return differences, ways


def _second_order(ladder, remainders, floor: float, decades: float) -> tuple[float, float]:
    """What is larger, the better a remainder shows second order."""
    return (
        second_order_decades(ladder, remainders, floor),
        -order_deviation(ladder, remainders, decades),
    )


def _ratio(a: float, b: float) -> float:
    """``a / b``; two zeros agree."""
    return a / b if b else (0.0 if a == 0 else np.inf)


def _orders(ladder: np.ndarray, remainders: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.diff(np.log(remainders)) / np.diff(np.log(ladder))


def second_order_decades(
    ladder, remainders, floor: float, tolerance: float = ORDER_TOLERANCE
) -> float:
    """The longest run of decades over which the remainder falls like the square of the step.

    The end that sinks into rounding (``floor``, relative to the value) does not count. A function
    that is linear
    to rounding has no remainder at all: every decade of the ladder passes.
    """
    ladder, remainders = np.array(ladder), np.array(remainders)
    if not np.isfinite(remainders).all():
        return 0.0
    steps = np.abs(np.diff(np.log10(ladder)))
    if (remainders <= floor).all():
        return float(steps.sum())
    good = (np.abs(_orders(ladder, remainders) - 2.0) <= tolerance) & (remainders[1:] > 0)
    best = run = 0.0
    for width, ok in zip(steps, good):
        run = run + width if ok else 0.0
        best = max(best, run)
    return float(best)


def order_deviation(ladder, remainders, decades: float) -> float:
    """Largest ``|order - 2|`` of the remainder over the best stretch of ``decades`` of the ladder
    (inf: none)."""
    steps = np.abs(np.diff(np.log10(np.array(ladder))))
    off = np.abs(_orders(np.array(ladder), np.array(remainders)) - 2.0)
    best = np.inf
    for first in range(off.size):
        count = int(np.searchsorted(np.cumsum(steps[first:]), decades - 1e-9)) + 1
        if first + count <= off.size and np.isfinite(off[first : first + count]).all():
            best = min(best, float(off[first : first + count].max()))
    return best


def hessian_symmetry(
    loss: Callable,
    inputs: Any,
    psum: Callable | None = None,
    *,
    rank: int = 0,
    limit: float = 1e-11,
) -> Check:
    """``<H a, b>`` against ``<a, H b>`` for two random directions, by forward over reverse mode.

    Args:
        loss: scalar function of a pytree; across ranks this rank's share.
    """
    total = jax.jit(psum) if psum is not None else lambda x: x
    product = jax.jit(lambda x, d: jax.jvp(jax.grad(loss), (x,), (d,))[1])
    a, b = (random_direction(inputs, rank, seed) for seed in (2, 3))
    Ha, Hb = product(inputs, a), product(inputs, b)
    left, right = _dot(Ha, b, total), _dot(a, Hb, total)
    size = max(abs(left), abs(right))
    return Check(
        "Hessian symmetry", _ratio(abs(left - right), size), limit, "<H a, b> against <a, H b>"
    )


def random_direction(tree: Any, rank: int = 0, seed: int = 0, scale: Any = None) -> Any:
    """A random tree like ``tree``: in each leaf as large, root mean square, as ``scale`` (default:
    the leaf itself).

    Fields differ by rank; all other leaves, which ranks hold alike, get the same direction
    everywhere.
    """

    def one(path, leaf, size):
        field = isinstance(leaf, Field)
        data, like = (leaf.data, size.data) if field else (leaf, size)
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng([seed, *name.encode(), *([rank + 1] if field else [])])
        rms = float(jnp.sqrt(jnp.mean(jnp.square(like)))) if like.size else 0.0
        noise = jnp.asarray(rng.normal(size=data.shape) * (rms or 1.0), data.dtype)
        return leaf.with_data(noise) if field else noise

    as_arrays = jax.tree.map(jnp.asarray, (tree, tree if scale is None else scale))
    return jax.tree_util.tree_map_with_path(one, *as_arrays, is_leaf=lambda x: isinstance(x, Field))


def _dot(a, b, total) -> float:
    """Sum of products over all leaves and ranks, in float64."""
    parts = [
        jnp.vdot(jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))
    ]
    return float(total(jnp.asarray(sum(parts), jnp.float64)))


def _epsilon(tree) -> float:
    return max(float(jnp.finfo(jnp.result_type(x)).eps) for x in jax.tree.leaves(tree))


def _not_finite(tree) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(p) for p, x in leaves if not bool(jnp.isfinite(x).all())]
