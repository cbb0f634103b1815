"""The mean transport operator of the year as a sparse matrix, by probing with coloured vectors.

``dc/dt = Q c + ...`` with advection by centred differences, eddy fluxes, diffusion and vertical
mixing, all by their mean over the year. Cells that are three apart do not see each other in one
evaluation, so that 27 vectors (a few more where a periodic row has no multiple of three cells) tell
all entries (Khatiwala, Visbeck and Cane 2005, doi:10.1016/j.ocemod.2004.04.002). Sources reach
anywhere in their column, which takes one vector for each level, at once in all columns.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse

from dogcm.components import ConfigError
from dogcm.dynamics.continuity import convergence, interface_flow, stretch_c
from dogcm.dynamics.interfaces import Flow
from dogcm.dynamics.tracer_advection import Centered
from dogcm.field import Field
from dogcm.operators import diff_z_c2w, diff_z_w2c
from dogcm.spinup.circulation import mean_of, water_of
from dogcm.spinup.problem import Problem, warmed

_APART = 3  # cells of one colour


class Operator(NamedTuple):
    """Rates (s-1) as a sparse matrix on rank 0, None elsewhere.

    Attributes:
        matrix: (n, n) of wet cells, tracer by tracer. wet: which cells these are, (z, y, x).
    """

    matrix: sparse.csr_matrix | None
    wet: np.ndarray | None


def transport_operator(problem: Problem, x) -> tuple[Operator, float]:
    """The operator of the year about the state ``x``, sources included; and the seconds it took
    to make it, without those of the compiler.

    Raises:
        ConfigError: grids with a north fold, across which cells are not told apart.
    """
    decomposition = problem.decomposition
    if decomposition.layout.north_fold:
        raise ConfigError(
            "the transport operator is not made on grids with a north fold: use a method without "
            "preconditioner, such as anderson"
        )
    prepared = problem.once("rates", lambda: _compiled_rates(problem))
    changes, held = problem.once("sources", lambda: _compiled_sources(problem, x))
    start = problem.costs.clock()
    rates = prepared()
    colours, tile = _colours(problem), decomposition.tile
    wet = decomposition.gather(np.asarray(problem.grid.mask_c.interior))
    mask = np.asarray(problem.space.mask)
    parts = []
    for kz, ky, kx in itertools.product(range(_APART), *map(range, _counts(colours))):
        chosen = (colours[0] == kz)[:, None, None] & (
            (colours[1] == ky)[tile.j0 : tile.j1, None] & (colours[2] == kx)[tile.i0 : tile.i1]
        )
        response = rates(jnp.asarray(chosen * mask))
        got = decomposition.gather(np.asarray(response))
        if got is not None:
            parts.append(_entries(got, wet, colours, (kz, ky, kx), decomposition.layout))
    sources, fixed = _source_entries(problem, x, changes, held)
    rain = _rain(problem)
    made = Operator(None, None)
    if wet is not None:
        made = _assembled(problem, parts, rain, sources, fixed, wet)
    return made, problem.costs.clock() - start


def _assembled(problem: Problem, parts, rain, sources, held, wet) -> Operator:
    cells = np.full(wet.shape, -1)
    cells[wet > 0] = np.arange(int((wet > 0).sum()))
    count = int((wet > 0).sum())
    rows, columns, values = (np.concatenate([p[n] for p in parts]) for n in range(3))
    flat = cells.ravel()
    one = sparse.csr_matrix((values, (flat[rows], flat[columns])), shape=(count, count))
    top = np.zeros(wet.shape)
    top[0] = rain
    with_rain = one + sparse.diags(top[wet > 0])
    alone = problem.cycle.passive.not_in_rain()
    blocks = [one if n in alone else with_rain for n in problem.space.names]
    matrix = sparse.block_diag(blocks, format="csr")
    if sources is not None:
        r, c, v = sources
        size = wet.size
        place = lambda n: (n // size) * count + flat[n % size]
        matrix = matrix + sparse.csr_matrix((v, (place(r), place(c))), shape=matrix.shape)
    fixed = np.concatenate([h[wet > 0] for h in held])
    keep = sparse.diags((~fixed).astype(float))
    # What is prescribed forgets within a step.
    matrix = keep @ matrix - sparse.diags(fixed / problem.cycle.physics.dt)
    return Operator(matrix.tocsr(), wet > 0)


def _counts(colours) -> tuple[int, int]:
    return int(colours[1].max()) + 1, int(colours[2].max()) + 1


def _colours(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour of every level, row and column of the globe."""
    layout = problem.decomposition.layout
    ny, nx = layout.shape
    across = np.arange(nx) % _APART
    rest = nx % _APART
    if layout.periodic_x and rest:
        # The last columns have both the first and the ones before beside them.
        across[nx - rest :] = _APART + np.arange(rest)
    return np.arange(problem.grid.nz) % _APART, np.arange(ny) % _APART, across


def _entries(response, wet, colours, colour, layout):
    """Rows, columns (of all cells) and values that one coloured vector tells."""
    nz, ny, nx = wet.shape
    k, j, i = np.nonzero(response)
    source = []
    for axis, (index, size) in enumerate(((k, nz), (j, ny), (i, nx))):
        wraps = axis == 2 and layout.periodic_x
        found = np.full(index.shape, -1)
        for step in (-1, 0, 1):
            there = (index + step) % size if wraps else index + step
            valid = (there >= 0) & (there < size)
            same = valid & (colours[axis][np.clip(there, 0, size - 1)] == colour[axis])
            found = np.where(same, there, found)
        source.append(found)
    good = np.all([s >= 0 for s in source], axis=0)
    row = np.ravel_multi_index((k[good], j[good], i[good]), wet.shape)
    column = np.ravel_multi_index(tuple(s[good] for s in source), wet.shape)
    wet_flat = wet.ravel() > 0
    both = wet_flat[row] & wet_flat[column]
    return row[both], column[both], response[k, j, i][good][both]


def _compiled_rates(problem: Problem):
    """Function that gives, for what carries the problem's tracers now, another one: from a state of
    one tracer (z, y, x) to its rate (s-1) in the mean of the year."""
    cycle, grid = problem.cycle, problem.grid

    def of(period, grid, c, params):
        return _rate(cycle, c, problem.space.place, period, params, grid)

    mean = mean_of(problem.circulation)
    halos = problem.space.halos
    prepare = warmed(halos, lambda c, g, p: cycle.period(0, p, c, g), mean, grid, problem.params)
    like = jnp.zeros(problem.space.mask.shape)
    compiled = warmed(halos, of, prepare(mean, grid, problem.params), grid, like, problem.params)

    def prepared():
        params = problem.params
        period = prepare(mean_of(problem.circulation), grid, params)
        # One thickness for all periods: sea level then returns to where it was, and so do contents.
        h = _thickness(problem)
        return lambda c: compiled(period, grid, c, params) / h

    return prepared


def _rate(cycle, c, place: Field, period, params, grid):
    """Rate of content (m s-1) of a tracer by all that moves it."""
    name = cycle.names[0]
    (deep,) = cycle.deep_fields([place.with_data(c)])
    eta = (period.first + period.last) * 0.5
    stretch = stretch_c(eta, grid)
    h = grid.h_c * stretch
    w = interface_flow(period.flow_u, period.flow_v, period.freshwater * 0.0, grid)
    flow = Flow(period.flow_u, period.flow_v, w, h, cycle.physics.dt)
    advective = Centered().prepare({name: deep}, flow, cycle.halos, 0, grid)(name)
    step = cycle.tracer_step
    fluxes = step.fluxes(deep, advective, params, grid, period.eddies)
    content = convergence(*fluxes, grid)
    k = period.diffusivity / stretch
    if period.eddies is not None:
        k = k + period.eddies.vertical_diffusivity
    content = content + diff_z_w2c(diff_z_c2w(deep) * k * grid.mask_cw * (1.0 / grid.dz_w))
    return content.crop(0).data


def _rain(problem: Problem):
    """Fresh water over the thickness of the first layer (s-1), mean over the year, on rank 0."""
    cycle, params = problem.cycle, problem.params

    def mean(circulation, grid):
        of = lambda n: cycle.period(n, params, circulation, grid).freshwater.crop(0).data
        return jnp.mean(jax.lax.map(of, jnp.arange(circulation.periods)), axis=0)

    rain = problem.space.halos.jit(mean)(problem.circulation, problem.grid) / _thickness(problem)[0]
    return problem.decomposition.gather(np.asarray(rain))


def _thickness(problem: Problem):
    """Of layers when the year begins (m), (z, y, x); 1 on land."""
    eta = problem.circulation.eta
    first = eta.with_data(eta.data[0])
    grid = problem.grid
    return (grid.h_c * stretch_c(first, grid) + (1.0 - grid.mask_c)).crop(0).data


def _source_entries(problem: Problem, x, rates, held):
    """Derivatives of the sources about ``x``: rows, columns, values on rank 0; and which cells are
    prescribed, (tracer, z, y, x)."""
    decomposition, names = problem.decomposition, problem.space.names
    rows, columns, values = [], [], []
    nz = problem.grid.nz
    # Nothing to be found one by one where all of them together change nothing.
    anything = rates(x, problem.probe(), problem.params)
    some = decomposition.comm.any(bool(jnp.any(anything != 0)))
    for a in range(len(names) if some else 0):
        for k in range(nz):
            direction = jnp.zeros(x.shape).at[a, k].set(problem.space.mask[k])
            got = decomposition.gather(np.asarray(rates(x, direction, problem.params)))
            if got is None or not got.any():
                continue
            b, z, j, i = np.nonzero(got)
            rows.append(np.ravel_multi_index((b, z, j, i), got.shape))
            columns.append(
                np.ravel_multi_index((np.full_like(b, a), np.full_like(b, k), j, i), got.shape)
            )
            values.append(got[b, z, j, i])
    kept = decomposition.gather(np.asarray(held(x, problem.params)))
    if kept is None:
        return None, None
    entries = tuple(map(np.concatenate, (rows, columns, values))) if rows else None
    return entries, kept == 0


def _compiled_sources(problem: Problem, x):
    """How rates (s-1) change with the state, mean over the year, and how what is held does."""
    cycle, space = problem.cycle, problem.space

    def rates(x, circulation, grid, params):
        def add(total, n):
            length = circulation.year / circulation.periods
            time = circulation.start + (n + 0.5) * length
            return total + _source_rates(
                cycle, space, x, time, water_of(circulation, n), params, grid
            ), None

        numbers = jnp.arange(circulation.periods)
        total, _ = jax.lax.scan(add, jnp.zeros_like(x), numbers)
        return total / circulation.periods

    def change(x, v, circulation, grid, params):
        return jax.jvp(lambda y: rates(y, circulation, grid, params), (x,), (v,))[1]

    def held(x, circulation, grid, params):
        def of(y):
            found = cycle.passive.held(
                space.fields(y) | water_of(circulation, 0),
                grid.h_c,
                params,
                grid,
                circulation.start,
                cycle.physics.dt,
            )
            return jnp.stack([found[n].data for n in space.names])

        return jax.jvp(of, (x,), (jnp.ones_like(x) * space.mask,))[1] + (1.0 - space.mask)

    rest = lambda: (problem.circulation, problem.grid)
    change = warmed(space.halos, change, x, x, *rest(), problem.params)
    held = warmed(space.halos, held, x, *rest(), problem.params)
    return (lambda x, v, p: change(x, v, *rest(), p)), (lambda x, p: held(x, *rest(), p))


def _source_rates(cycle, space, x, time, water, params, grid):
    fields = space.fields(x) | water
    h = grid.h_c.crop(0)
    found = cycle.passive.sources(fields, h, params, grid, time, cycle.physics.dt)
    thick = jnp.where(h.data > 0, h.data, 1.0)
    out = []
    for name in space.names:
        rate = jnp.zeros_like(h.data)
        if name in found.rates:
            rate = rate + found.rates[name].data
        if name in found.contents:
            rate = rate + found.contents[name].data / thick
        if name in found.surface:
            rate = rate.at[0].add(found.surface[name].data / thick[0])
        out.append(rate)
    return jnp.stack(out)


__all__ = ["Operator", "transport_operator"]
