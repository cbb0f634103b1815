"""Neural correctors: the same on every layout, exact gradients, conservation, nothing before
training."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from dogcm.corrector import (
    CorrectorConfig,
    WeightsError,
    build_corrector,
    choose_halo_strategy,
    load_weights,
    network_alone,
    save_weights,
)
from dogcm.corrector.features import BOUND, GROUPS, Scene, inputs
from dogcm.corrector.layers import HaloConv, Level, check_corners, constant_level
from dogcm.corrector.pooling import coarse_layout, coarsen, pool, unpool
from dogcm.corrector.weights import leaves, load_config
from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout, world
from dogcm.decomp.layout import LayoutError
from dogcm.field import Field, exchange
from dogcm.grid.bathymetry import vertical_cells
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import HaloExchange, SerialBackend, connect
from dogcm.timestepping.state import at_rest

DZ = np.array([50.0, 150.0, 400.0])
SHAPE = (13, 21)  # odd: the last coarse cell of a periodic row has one column alone
SMALL = dict(every=1, rates={"temperature": 8.64, "salinity": 8.64, "velocity": 8.64})
OUTPUTS = {"temperature": "flux_3d", "salinity": "tendency_no_mean", "velocity": "tendency"}
SEEN = ("tracers", "velocity", "surface", "mask")
KINDS = {
    "column": dict(network={"kind": "column", "depth": 1, "width": 4}, inputs=SEEN),
    "conv": dict(
        network={"kind": "conv", "depth": 2, "width": 4},
        inputs=SEEN,
        halo="deep",
        maps=3,
        rates={"temperature": [8.64, 4.32, 1.0], "salinity": 8.64, "velocity": 8.64},
    ),
    "unet": dict(network={"kind": "unet", "depth": 2, "width": 4}, inputs=SEEN),
    "attention": dict(
        network={"kind": "attention", "depth": 1, "poolings": 1, "heads": 2, "width": 4},
        inputs=("gradients", "geometry"),
    ),
}
# Tests compile a lot and compute little.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def jit(function):
    return jax.jit(function, compiler_options=QUICK)


def ocean(comm, layout, shape=SHAPE, dtype=np.float64, plane=False):
    """A rough ocean with islands, its state in random motion, on this rank's tile; the state has no
    halo."""
    rng = np.random.default_rng(5)
    depth = np.where(rng.random(shape) < 0.25, 0.0, rng.uniform(30, 580, shape))
    cells = vertical_cells(depth, DZ, min_fraction=0.2, min_thickness=20.0)
    d = Decomposition(layout, comm)
    t, halos = d.tile, connect(layout, comm)
    horizontal = CartesianGrid(*shape[::-1], 1e4, 2e4) if plane else None
    grid = build_grid(
        horizontal or LatLonGrid.regular(*shape[::-1]),
        VerticalGrid(DZ),
        d,
        cells,
        2,
        Halo.of(2),
        dtype,
    )
    part = lambda a: jnp.asarray(a[..., t.j0 : t.j1, t.i0 : t.i1], dtype)

    def field(at, mean, size, lead=(3,)):
        return Field(part(mean + size * rng.normal(size=(*lead, *shape))), at)

    wet = grid.mask_c.crop(0)
    tracers = {"temperature": field("c", 12.0, 8.0) * wet, "salinity": field("c", 35.0, 0.5) * wet}
    state = at_rest(tracers, 0)
    state = state.replace(
        u=field("u", 0.0, 0.1) * grid.mask_u,
        v=field("v", 0.0, 0.1) * grid.mask_v,
        eta=field("c", 0.0, 0.3, ()) * grid.wet_c,
    )
    now = {"taux": field("u", 0.0, 0.1, ()), "sst": field("c", 12.0, 8.0, ())}
    return SimpleNamespace(grid=grid, state=state, now=now, halos=halos, tile=t, layout=layout, d=d)


def with_halos(o):
    """What a time step hands to its hook."""
    s, g = o.state, o.grid
    wanted = [s.u, s.v, s.eta, s.temperature, s.salinity, *o.now.values()]
    u, v, eta, t, salt, *now = exchange(o.halos, *((f, 2) for f in wanted))
    tracers = {"temperature": t, "salinity": salt}
    state = s.replace(u=u * g.mask_u, v=v * g.mask_v, eta=eta * g.wet_c, tracers=tracers)
    return state, dict(zip(o.now, now))


def alone(shape=SHAPE, dtype=np.float64, plane=False):
    return ocean(SerialCommunicator(), make_layout(shape, 1, 1), shape, dtype, plane)


def replace_state(o, state):
    return SimpleNamespace(**vars(o) | {"state": state})


def config(name: str, **changes) -> CorrectorConfig:
    own = {k: changes.pop(k) for k in ("width", "depth") if k in changes}
    made = SMALL | {"outputs": OUTPUTS} | KINDS[name] | changes
    return CorrectorConfig(**made | {"network": made["network"] | own})


def trained(corrector, o, size=0.5):
    """Weights of no meaning, all of them other than zero."""
    state, now = with_halos(o)
    weights = corrector.init(jax.random.key(1), state, {}, now, o.grid)
    rng = np.random.default_rng(2)
    noise = lambda w: size * rng.normal(size=w.shape) / max(w.shape) ** 0.5
    return jax.tree.map(lambda w: jnp.asarray(w + noise(w), w.dtype), weights)


def run(corrector, o, weights, warming=0.0):
    """Tendencies of one call, its exchanges included; temperatures are larger by a factor ``1 +
    warming``."""
    tracers = o.state.tracers | {"temperature": o.state.temperature * (1.0 + warming)}
    state, now = with_halos(replace_state(o, o.state.replace(tracers=tracers)))
    act = corrector.hook if corrector.config.maps else corrector.tendency
    return act(state, corrector.prepared({"corrector": weights}, o.grid), now, o.grid)


def share(corrector, o, weights, warming=0.0):
    """This rank's part of a loss, products with a pattern that is fixed in space; and the
    tendencies."""
    j, i = np.mgrid[o.tile.j0 : o.tile.j1, o.tile.i0 : o.tile.i1]
    pattern = jnp.asarray(np.cos(0.7 * j + 1.3 * i))
    out = run(corrector, o, weights, warming)
    unit = {"temperature_content": 1e2, "salinity_content": 1e2, "u": 1e4, "v": 1e4}
    return sum(jnp.sum(pattern * jnp.sin(unit[n] * f.data)) for n, f in out.items()), out


def derivatives(corrector, o):
    """Function of weights and warming: (loss, tendencies), (gradients)."""
    return jit(
        jax.value_and_grad(lambda w, x: share(corrector, o, w, x), argnums=(0, 1), has_aux=True)
    )


@pytest.fixture(scope="module")
def basin():
    return alone()


@pytest.fixture(scope="module", params=["conv", "unet", "attention"])
def serial(request, basin):
    """Corrector, weights, tendencies, loss and its gradients on one rank; rank 0 alone has them."""
    if world().rank:
        return None
    corrector = build_corrector(config(request.param), basin.halos, 3)
    weights = trained(corrector, basin)
    every = derivatives(corrector, basin)
    (loss, out), (of_weights, of_warming) = every(weights, 0.0)
    value = lambda w, x: every(w, x)[0][0]
    return SimpleNamespace(
        corrector=corrector,
        weights=weights,
        out=out,
        loss=loss,
        of_weights=of_weights,
        of_warming=of_warming,
        value=value,
    )


# ---- one rank


def test_gradient_against_differences(serial):
    rng = np.random.default_rng(7)
    d = jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape)), serial.weights)
    slope = sum(
        jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(serial.of_weights), jax.tree.leaves(d))
    )
    slope = float(slope + serial.of_warming)
    at = lambda h: serial.value(jax.tree.map(lambda w, x: w + h * x, serial.weights, d), h)
    left = [abs(float(at(h) - at(-h)) / (2 * h) - slope) for h in (4e-3, 2e-3, 1e-3)]
    np.testing.assert_allclose(np.log2(np.divide(left[:-1], left[1:])), 2.0, atol=0.2)
    assert left[-1] < 1e-2 * abs(slope)


def test_every_weight_matters_and_nothing_is_beyond_its_bound(serial, basin):
    for name, g in leaves(serial.of_weights).items():
        # Keys of attention have no bias to speak of: adding a constant to all scores changes
        # nothing.
        assert np.isfinite(g).all() and (np.abs(g).max() > 1e-12 or name.endswith("key/bias")), name
    rate = 8.64 / 86400
    assert 0.01 * rate < np.abs(serial.out["u"].data).max()
    assert serial.corrector.config.maps or np.abs(serial.out["u"].data).max() <= rate
    assert (
        np.asarray(serial.out["u"].data)[np.asarray(basin.grid.mask_u.interior) == 0] == 0
    ).all()


def test_tracers_are_conserved_and_land_is_left_alone(serial, basin):
    area = np.asarray(basin.grid.area_c.interior)
    dry = np.asarray(basin.grid.mask_c.interior) == 0
    for name in ("temperature_content", "salinity_content"):
        rate = np.asarray(serial.out[name].data)
        assert np.abs(rate).max() > 1e-5 and (rate[dry] == 0).all()
        assert abs((rate * area).sum()) < 1e-13 * np.abs(rate * area).sum()


@pytest.mark.parametrize("kind", ["flux", "diffusive"])
def test_other_conserving_outputs(kind, basin):
    outputs = {"temperature": kind, "salinity": "tendency"}
    corrector = build_corrector(config("column", outputs=outputs), basin.halos, 3)
    weights = trained(corrector, basin)
    out = jit(lambda w: run(corrector, basin, w))(weights)
    rate, area = np.asarray(out["temperature_content"].data), np.asarray(basin.grid.area_c.interior)
    assert np.abs(rate).max() > 0 and abs((rate * area).sum()) < 1e-13 * np.abs(rate * area).sum()
    assert np.abs(out["salinity"].data).max() <= 8.64 / 86400


def test_stress_makes_no_momentum():
    """On a plane with islands and free-slip walls, at any weights; a cell feels at most four times
    the rate: both stresses, from both sides."""
    o = alone(plane=True)
    made = config("column", outputs={"velocity": "stress"})
    corrector = build_corrector(made, o.halos, 3)
    out = jit(lambda w: run(corrector, o, w))(trained(corrector, o))
    g = o.grid
    for at, name in (("u", "u"), ("v", "v")):
        rate = np.asarray(out[name].data)
        mass = np.asarray((getattr(g, f"h_{at}") * getattr(g, f"area_{at}")).interior)
        assert 1e-7 < np.abs(rate).max()
        thin = np.asarray(getattr(g, f"h_{at}").interior)
        assert (rate[thin == 0] == 0).all() and np.abs(rate).max() < 4 * 8.64 / 86400
        assert abs((rate * mass).sum()) < 1e-13 * np.abs(rate * mass).sum()


def test_learned_diffusion_acts_down_the_gradient(basin):
    """With the network's channels all one, diffusivity is K (10**tanh(1) - 1) > 0 and variance
    falls."""
    from dogcm.corrector.outputs import tendencies

    c = config("column", outputs={"temperature": "diffusive"})
    state, _ = with_halos(basin)
    for sign in (1, -1):
        raw = Field(jnp.full((6, SHAPE[0] + 2, SHAPE[1] + 2), float(sign)), "c", Halo.of(1))
        rate = jit(lambda x: tendencies(x, c, state, basin.grid, basin.halos))(raw)[
            "temperature_content"
        ]
        assert (
            sign * float(jnp.sum(rate.data * (state.temperature * basin.grid.area_c).interior)) < 0
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_are_of_order_one_everywhere(dtype):
    o = alone(dtype=dtype)

    def seen(state):
        return inputs(
            tuple(GROUPS), *with_halos(replace_state(o, state)), o.grid, CorrectorConfig().scales
        ).data

    data = np.asarray(jit(seen)(o.state))
    assert data.dtype == dtype and np.isfinite(data).all() and np.abs(data).max() <= BOUND
    dry = np.asarray(o.grid.wet_c.interior) == 0
    assert (data[:, dry] == 0).all()
    assert (np.abs(data).max(axis=(1, 2)) > 0.02).mean() > 0.9
    if dtype == np.float32:
        return
    # At rest, without stratification, nothing divides by zero.
    still = jax.tree.map(jnp.zeros_like, o.state)
    g = jit(jax.grad(lambda s: jnp.sum(seen(s)), allow_int=True))(still)
    assert all(np.isfinite(f.data).all() and (f.data != 0).any() for f in g.variables().values())


def test_a_network_alone_moves_the_ocean_by_its_tendencies(basin):
    outputs = {"temperature": "tendency", "velocity": "tendency", "eta": "tendency"}
    rates = {"temperature": 1.0, "velocity": 0.1, "eta": 0.2}
    corrector = build_corrector(
        config("column", outputs=outputs, rates=rates, every=4), basin.halos, 3
    )
    weights, (state, now) = trained(corrector, basin), with_halos(basin)
    deep = lambda s, grid: with_halos(replace_state(basin, s))[0]
    dynamics = SimpleNamespace(physics=SimpleNamespace(dt=600.0), with_halos=deep)
    step = network_alone(dynamics, corrector)
    forcing = SimpleNamespace(at=lambda time: now)
    go = jit(lambda s: step(s, {"corrector": weights}, forcing, basin.grid))
    one = go(basin.state)
    rate = jit(corrector.tendency)(state, {"corrector": weights}, now, basin.grid)
    for name, f in {"temperature": one.temperature, "u": one.u, "v": one.v, "eta": one.eta}.items():
        before = basin.state.variables()[name]
        assert float(jnp.abs(rate[name].data).max()) > 0
        np.testing.assert_allclose(
            f.data, (before + rate[name] * 2400.0).crop(0).data, rtol=1e-13, atol=1e-15
        )
    assert (one.salinity.data == basin.state.salinity.data).all() and int(one.steps) == 1
    two = go(one)
    assert (two.temperature.data == one.temperature.data).all() and float(two.time) == 1200.0
    with_maps = build_corrector(
        config("column", outputs=outputs, rates=rates, every=4, maps=1, maps_only=("eta",)),
        basin.halos,
        3,
    )
    moved = jit(lambda s, w: network_alone(dynamics, with_maps)(s, w, forcing, basin.grid))
    maps = lambda w: w["maps"] | {"eta": w["maps"]["eta"] * 0.0 + 1.0}
    weights = trained(with_maps, basin)
    risen = (
        moved(basin.state, {"corrector": weights | {"maps": maps(weights)}}).eta - basin.state.eta
    )
    np.testing.assert_allclose(risen.data, 0.2 / 86400.0 * 2400.0, rtol=1e-10)
    for bad, says in (
        (config("conv"), "must be of kind tendency, not so salinity, temperature"),
        (CorrectorConfig(network="none"), "takes a network"),
    ):
        with pytest.raises(ValueError, match=says):
            network_alone(dynamics, build_corrector(bad, basin.halos, 3))
    with pytest.raises(ValueError, match="eta is for a network without physics"):
        corrector.install(dynamics)


def test_maps_act_at_every_step_with_their_season(basin):
    """With a silent network nothing but the maps: the mean, and waves that return every year; heat
    is kept."""
    c = config("column", maps=3, every=4, scales={"year": 360.0})
    corrector = build_corrector(c, basin.halos, 3)
    state, now = with_halos(basin)
    weights = corrector.init(jax.random.key(0), state, {}, now, basin.grid)
    assert not any(np.asarray(f.data).any() for f in weights["maps"].values())
    rng = np.random.default_rng(0)
    maps = {
        n: f.with_data(jnp.asarray(rng.normal(size=f.shape))) for n, f in weights["maps"].items()
    }

    @jit
    def said(maps, time, steps):
        params = corrector.prepared({"corrector": weights | {"maps": maps}}, basin.grid)
        return corrector.hook(state.replace(time=time, steps=steps), params, now, basin.grid)

    mean, sine, cosine = (
        np.asarray(basin.grid.mask_u.interior) * p for p in np.split(np.asarray(maps["u"].data), 3)
    )
    day, rate, area = 86400.0, 8.64 / 86400.0, np.asarray(basin.grid.area_c.interior)
    cases = (
        (0, mean + cosine),
        (90, mean + sine),
        (180, mean - cosine),
        (360 * 7 + 270, mean - sine),
    )
    for steps, (days, expected) in enumerate(cases):  # the network's turn, and not
        out = said(maps, days * day, steps)
        np.testing.assert_allclose(out["u"].data, rate * expected, atol=1e-11)
        content = np.asarray(out["temperature_content"].data)
        assert (
            np.abs(content).max() > 0.1 * rate
            and abs((content * area).sum()) < 1e-13 * np.abs(content * area).sum()
        )
    with pytest.raises(WeightsError, match="weights with maps are tiled"):
        save_weights("weights.npz", corrector.config, weights)


def test_outputs_of_maps_only(basin):
    """The network has channels for the others alone, and no say in what maps alone correct."""
    alone = ("temperature", "salinity")
    corrector = build_corrector(config("column", maps=1, maps_only=alone), basin.halos, 3)
    weights = trained(corrector, basin)
    assert weights["last"]["kernel"].shape[-1] == 2 * 3  # u and v on three levels
    other = {
        n: w if n == "maps" else jax.tree.map(lambda x: 2.0 * x, w) for n, w in weights.items()
    }
    first, second = (jit(lambda w: run(corrector, basin, w))(w) for w in (weights, other))
    differ = {n for n in first if not np.array_equal(first[n].data, second[n].data)}
    assert differ == {"u", "v"} and {f"{n}_content" for n in alone} <= set(first)
    for wrong, message in (
        ({"maps": 0}, "there are no maps"),
        ({"maps_only": (*alone, "velocity")}, "leave the network one output"),
        ({"maps_only": ("oxygen",)}, "oxygen not among outputs"),
    ):
        with pytest.raises(ValueError, match=f"maps_only: {message}"):
            config("column", **{"maps": 1, "maps_only": alone} | wrong)


def test_a_rate_for_each_level(basin):
    outputs, rates = (
        {"temperature": "flux_3d", "salinity": "tendency"},
        {"salinity": [3.0, 2.0, 1.0]},
    )
    c = config("column", outputs=outputs, rates=rates | {"temperature": [3.0, 2.0, 1.0]})
    corrector = build_corrector(c, basin.halos, 3)
    weights = trained(corrector, basin, size=50.0)
    out = jit(lambda w: run(corrector, basin, w))(weights)
    largest = np.abs(out["salinity"].data).max((1, 2)) * 86400
    np.testing.assert_allclose(largest, [3.0, 2.0, 1.0], rtol=1e-3)
    rate, area = np.asarray(out["temperature_content"].data), np.asarray(basin.grid.area_c.interior)
    assert abs((rate * area).sum()) < 1e-13 * np.abs(rate * area).sum()
    with pytest.raises(
        ValueError, match="salinity has 2 numbers: give 1, or one for each of 3 levels"
    ):
        build_corrector(
            config("column", rates={**SMALL["rates"], "salinity": [1.0, 2.0]}), basin.halos, 3
        )


def test_differences_do_not_depend_on_resolution():
    """A front seen across a cell of half the width is half as high: the input is dx dT/dx, not
    dT/dx."""
    seen = []
    for shape in ((8, 12), (16, 24)):
        halos = HaloExchange(make_layout(shape, 1, 1), SerialBackend())
        d = Decomposition(halos.layout, SerialCommunicator())
        cells = np.broadcast_to(DZ[:, None, None], (3, *shape))
        grid = build_grid(
            LatLonGrid.regular(*shape[::-1]), VerticalGrid(DZ), d, cells, 2, Halo.of(2)
        )
        t = Field(
            jnp.sin(grid.lon_c.crop(2).data * np.pi / 180) * jnp.ones((3, 1, 1)), "c", Halo.of(2)
        )
        x, _ = Scene(None, {}, grid, None).across(t)
        seen.append(float(jnp.abs(x.data).max()))
    assert seen[0] / seen[1] == pytest.approx(2.0, rel=0.1)


def test_the_same_weights_serve_twice_the_resolution(serial):
    fine = alone((26, 42))
    # All but maps, which belong to one grid.
    corrector = build_corrector(
        serial.corrector.config.model_copy(update={"maps": 0}), fine.halos, 3
    )
    weights = {n: w for n, w in serial.weights.items() if n != "maps"}
    out = jax.eval_shape(lambda w: run(corrector, fine, w), weights)
    assert out["temperature_content"].shape == (3, 26, 42)


def test_single_precision_network_in_a_double_precision_ocean(basin):
    corrector = build_corrector(config("column", precision="float32"), basin.halos, 3)
    weights = trained(corrector, basin)
    assert {w.dtype for w in jax.tree.leaves(weights)} == {np.dtype("float32")}
    rate = np.asarray(jit(lambda w: run(corrector, basin, w))(weights)["temperature_content"].data)
    area = np.asarray(basin.grid.area_c.interior)
    assert rate.dtype == np.float64 and abs((rate * area).sum()) < 1e-13 * np.abs(rate * area).sum()
    double = build_corrector(config("column"), basin.halos, 3)
    exact = jit(lambda w: run(double, basin, w))(
        jax.tree.map(lambda w: w.astype(np.float64), weights)
    )
    np.testing.assert_allclose(
        rate, exact["temperature_content"].data, atol=1e-4 * np.abs(rate).max()
    )


def test_both_halo_strategies_say_the_same(basin):
    layer = build_corrector(config("unet", depth=1), basin.halos, 3)
    weights, args = trained(layer, basin), with_halos(basin)
    both = [
        build_corrector(config("unet", depth=1, halo=h), basin.halos, 3) for h in ("layer", "deep")
    ]
    a, b = (jit(c.raw)(args[0], {"corrector": weights}, args[1], basin.grid).data for c in both)
    wet = np.asarray(basin.grid.wet_c.interior) > 0
    a, b = (np.asarray(x)[:, 1:-1, 1:-1][:, wet] for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_convolution_against_scipy():
    from scipy.signal import correlate2d

    halos = HaloExchange(make_layout((6, 9), 1, 1), SerialBackend())
    rng = np.random.default_rng(0)
    x, wet = rng.normal(size=(2, 6, 9)), (rng.random((6, 9)) < 0.7) * 1.0
    level = Level.of(halos, Field(jnp.asarray(wet), "c"), Field(jnp.asarray(wet), "c"), 1)
    kernel, bias = rng.normal(size=(3, 3, 3, 2)), rng.normal(size=2)
    weights = {"params": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}}
    out = HaloConv(2).apply(weights, Field(jnp.asarray(x), "c"), level)
    seen = np.pad(np.concatenate([x * wet, wet[None]]), [(0, 0), (0, 0), (1, 1)], mode="wrap")
    seen = np.pad(
        seen, [(0, 0), (1, 1), (0, 0)]
    )  # land beyond the walls, whatever an exchange brings there
    for o in range(2):
        expected = (
            sum(correlate2d(seen[c], kernel[:, :, c, o], "valid") for c in range(3)) + bias[o]
        )
        np.testing.assert_allclose(out.data[o], expected, rtol=1e-12)


def reference_pool(x, weight):
    """Weighted means over global pairs, by loops; sums where there is no weight."""
    ny, nx = x.shape
    out = np.zeros((-(-ny // 2), -(-nx // 2)))
    for j, i in np.ndindex(out.shape):
        pair = slice(2 * j, 2 * j + 2), slice(2 * i, 2 * i + 2)
        out[j, i] = (
            x[pair].sum()
            if weight is None
            else (weight * x)[pair].sum() / max(weight[pair].sum(), 1e-300)
        )
    return out


def pooling_case(halos, shape):
    """Two poolings and back on this rank's tile, and the same on the whole grid by loops."""
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=shape), rng.uniform(1, 2, shape) * (rng.random(shape) < 0.6)
    t = halos.layout.tile(halos.rank)
    tiled = lambda a: jnp.asarray(a[t.j0 : t.j1, t.i0 : t.i1])

    def there_and_back(x, weight):
        level = Level.of(halos, Field((weight > 0) * 1.0, "c"), Field(weight, "c"), 1)
        middle = coarsen(level, 1)
        coarse = coarsen(middle, 1)
        f = pool(pool(Field(x[None], "c"), level, middle), middle, coarse)
        return unpool(unpool(f, middle, coarse), level, middle).data[0]

    found = jit(there_and_back)(tiled(x), tiled(weight))
    for _ in range(2):
        x, weight = reference_pool(x, weight), reference_pool(weight, None)
    whole = x[np.arange(shape[0])[:, None] // 4, np.arange(shape[1]) // 4]
    return found, tiled(whole)


@pytest.mark.parametrize("shape", [(5, 7), (8, 12), (9, 6)])
def test_pooling_against_loops(shape):
    f, expected = pooling_case(HaloExchange(make_layout(shape, 1, 1), SerialBackend()), shape)
    np.testing.assert_allclose(f, expected, rtol=1e-13, atol=1e-15)


def test_tiles_too_small_to_be_pooled():
    layout = make_layout((13, 12), 4, 1)
    with pytest.raises(LayoutError, match="use fewer tiles, or fewer poolings"):
        coarse_layout(coarse_layout(coarse_layout(layout)))
    halos = SimpleNamespace(layout=layout, rank=0, backend=SerialBackend())
    with pytest.raises(LayoutError, match="corrector.halo: layer"):
        build_corrector(config("conv", depth=3), halos, 3)
    wet = np.ones((4, 10), bool)
    wet[:, 5:] = False
    with pytest.raises(LayoutError, match="even cuts"):
        coarse_layout(make_layout((4, 10), 2, 1, wet=~wet, min_cells=1))
    coarse_layout(make_layout((4, 10), 2, 1, wet=wet, min_cells=1))


def test_tiles_that_meet_at_a_corner_are_refused():
    wet = np.zeros((6, 9), bool)
    wet[:3, :3] = wet[3:, 3:6] = True
    with pytest.raises(LayoutError, match="meet only at a corner"):
        check_corners(make_layout((6, 9), 3, 2, wet=wet))
    wet[:3, 3:6] = True
    check_corners(make_layout((6, 9), 3, 2, wet=wet))


def test_measured_halo_strategy(basin):
    corrector = build_corrector(config("column"), basin.halos, 3)
    state, now = with_halos(basin)
    chosen = choose_halo_strategy(
        corrector, state, {"corrector": trained(corrector, basin)}, now, basin.grid, 1
    )
    assert chosen.config.halo in ("layer", "deep") and chosen.config.kind == "column"


# ---- weights in files, configuration


def test_weights_return_from_their_file(tmp_path, basin):
    corrector = build_corrector(config("column"), basin.halos, 3)
    weights = trained(corrector, basin)
    save_weights(tmp_path / "w.npz", corrector.config, weights)
    again = load_weights(
        tmp_path / "w.npz", corrector.config, jax.tree.map(jnp.zeros_like, weights)
    )
    assert jax.tree.structure(again) == jax.tree.structure(weights)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(weights)):
        np.testing.assert_array_equal(a, b)
    assert load_config(tmp_path / "w.npz") == corrector.config


def test_weights_of_another_network(tmp_path, basin):
    corrector = build_corrector(config("column"), basin.halos, 3)
    weights = trained(corrector, basin)
    path = tmp_path / "w.npz"
    save_weights(path, corrector.config, weights)
    other = build_corrector(config("column", width=6), basin.halos, 3)
    with pytest.raises(
        WeightsError,
        match=r"HaloConv_0/bias is \(4,\) there and \(6,\) here \(width 4 there, 6 here\)",
    ):
        load_weights(path, other.config, trained(other, basin))
    with pytest.raises(WeightsError, match="last/gate is absent there"):
        load_weights(
            path, corrector.config, weights | {"last": weights["last"] | {"gate": jnp.ones(3)}}
        )
    save_weights(path, corrector.config, jax.tree.map(lambda w: w * jnp.nan, weights))
    with pytest.raises(WeightsError, match="not finite"):
        load_weights(path, corrector.config, weights)
    np.savez(path, x=np.asarray([{}], object))
    for wrong, says in (
        (path, "no file of corrector weights"),
        (tmp_path / "none.npz", "no such file"),
    ):
        with pytest.raises(WeightsError, match=says):
            load_weights(wrong, corrector.config, weights)


@pytest.mark.parametrize(
    "wrong, says",
    [
        (dict(network={"kind": "attention", "width": 6, "heads": 4}), "does not divide"),
        (dict(kind="conv"), "corrector.network"),
        (dict(network={"kind": "conv", "heads": 2}), "belongs to kind attention"),
        (dict(outputs={"oxygen": "flux"}), "oxygen"),
        (dict(outputs={"velocity": "flux"}), "velocity cannot be corrected by 'flux'"),
        (dict(outputs={"temperature": "stress"}), "temperature cannot be .* 'stress', which is of"),
        (dict(outputs={}), "name at least one"),
        (dict(inputs=["moon"]), "inputs"),
        (dict(layers=3), "layers"),
        (dict(scales={"temperature_scale": [0.0]}), "above 0"),
    ],
)
def test_configurations_that_make_no_sense(wrong, says):
    with pytest.raises(ValidationError, match=says):
        CorrectorConfig(**wrong)


def test_scales_for_each_level(basin):
    with pytest.raises(
        ValueError, match="temperature_mean has 2 numbers: give 1, or one for each of 3 levels"
    ):
        build_corrector(config("column", scales={"temperature_mean": [1.0, 2.0]}), basin.halos, 3)
    build_corrector(
        config("column", scales={"temperature_mean": [20.0, 10.0, 3.0]}), basin.halos, 3
    )


# ---- in the time step


def test_an_untrained_corrector_is_no_corrector():
    """Bit for bit, for all its outputs; and no kind at all leaves the dynamics as they are."""
    from dogcm.simulation.model import Model

    model = Model(
        "two_basin", {"grid.nx": 12, "grid.ny": 8, "grid.nz": 3}, comm=SerialCommunicator()
    )
    dynamics = model.dynamics
    assert build_corrector(CorrectorConfig(), model.halos, 3).install(dynamics) is dynamics
    corrector = build_corrector(config("column"), model.halos, 3)
    state = dynamics.with_halos(model.state, model.grid)
    now = model.forcing.at(0.0)
    weights = corrector.init(jax.random.key(0), state, model.params, now, model.grid)
    args = model.state, model.params | {"corrector": weights}, model.forcing, model.grid
    plain, corrected = (jit(d.step)(*args) for d in (dynamics, corrector.install(dynamics)))
    for name, f in plain.variables().items():
        np.testing.assert_array_equal(f.data, corrected.variables()[name].data, err_msg=name)


def test_correctors_add_up(basin):
    from dataclasses import dataclass
    from typing import Any

    @dataclass(frozen=True)
    class Hooks:
        extra_tendency: Any = None
        extra_every: int = 1

    corrector = build_corrector(config("column"), basin.halos, 3)
    weights, (state, now) = trained(corrector, basin), with_halos(basin)
    args = state, {"corrector": weights}, now, basin.grid
    once = corrector.install(Hooks())
    twice = corrector.install(once)
    one, two = jit(lambda *a: (once.extra_tendency(*a), twice.extra_tendency(*a)))(*args)
    assert one.keys() == two.keys()
    np.testing.assert_allclose(two["u"].data, 2 * one["u"].data, rtol=1e-14)
    with pytest.raises(ValueError, match="same interval"):
        corrector.install(replace(once, extra_every=3))


# ---- several ranks


def cuts(name="unet"):
    """Layouts of the ranks at hand, uneven ones with odd edges among them; fewer where that tests
    as much."""
    by_x, by_y = dict(px=2, py=1, cuts_x=(0, 9, 21)), dict(px=1, py=2, cuts_y=(0, 5, 13))
    return {
        2: {"conv": [by_y], "unet": [by_x, by_y], "attention": [by_x]}[name],
        3: [dict(px=3, py=1, cuts_x=(0, 5, 14, 21))],
        4: [dict(px=2, py=2, cuts_x=(0, 9, 21), cuts_y=(0, 7, 13))],
    }.get(world().size, [])


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(
    "serial",
    [
        pytest.param("conv", marks=pytest.mark.ranks(2)),
        pytest.param("attention", marks=pytest.mark.ranks(2, slow=(2,))),
        "unet",
    ],
    indirect=True,
)
def test_layouts_agree(request, serial):
    """Tendencies and gradients on tiles are those of the whole ocean."""
    comm = world()
    # One rank computes what is expected, and the others leave it the cores.
    expected = (
        None
        if comm.rank
        else (serial.weights, serial.out, serial.loss, serial.of_weights, serial.of_warming)
    )
    weights, out, loss, of_weights, of_warming = comm.broadcast(jax.tree.map(np.asarray, expected))
    kind = request.node.callspec.params["serial"]
    for cut in cuts(kind):
        o = ocean_on(comm, cut)
        corrector = build_corrector(config(kind), o.halos, 3)
        (part, here), (g, warming) = derivatives(corrector, o)(on_tile(weights, o), 0.0)
        maps = g.pop("maps", None)
        part, g, warming = jax.jit(lambda t: jax.tree.map(o.halos.psum, t))((part, g, warming))  # noqa: B023
        for name, f in here.items():
            whole = out[name].data
            there = whole[:, o.tile.j0 : o.tile.j1, o.tile.i0 : o.tile.i1]
            np.testing.assert_allclose(
                f.data, there, rtol=1e-12, atol=1e-12 * np.abs(whole).max(), err_msg=name
            )
        np.testing.assert_allclose(part, loss, rtol=1e-11)
        np.testing.assert_allclose(warming, of_warming, rtol=1e-10)
        scale = max(np.abs(w).max() for w in leaves(of_weights).values())
        for name, f in (maps or {}).items():  # of the tile alone, not summed
            there = on_tile(of_weights, o)["maps"][name].data
            np.testing.assert_allclose(f.data, there, rtol=1e-10, atol=1e-12 * scale, err_msg=name)
        for name, w in leaves({n: w for n, w in of_weights.items() if n != "maps"}).items():
            np.testing.assert_allclose(
                leaves(g)[name], w, rtol=1e-10, atol=1e-12 * scale, err_msg=name
            )


def on_tile(weights: dict, o) -> dict:
    """Weights with this tile's part of the maps."""
    part = lambda f: f.with_data(f.data[:, o.tile.j0 : o.tile.j1, o.tile.i0 : o.tile.i1])
    return {n: {k: part(f) for k, f in w.items()} if n == "maps" else w for n, w in weights.items()}


def ocean_on(comm, cut):
    """:func:`ocean` on these cuts: random numbers are drawn for the whole globe, then cut."""
    return ocean(comm, make_layout(SHAPE, **cut))


@pytest.mark.mpi(min_size=2)
def test_pooling_across_ranks():
    comm = world()
    for cut in cuts():
        f, expected = pooling_case(connect(make_layout(SHAPE, **cut), comm), SHAPE)
        np.testing.assert_allclose(f, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.mpi(min_size=2)
def test_weights_are_the_same_on_every_rank(basin):
    comm = world()
    o = ocean_on(comm, cuts()[0]) if cuts() else basin
    corrector = build_corrector(config("column"), o.halos, 3)
    state, now = with_halos(o)
    here = corrector.init(jax.random.key(3), state, {}, now, o.grid)
    there = build_corrector(config("column"), basin.halos, 3)
    whole = there.init(
        jax.random.key(3), *with_halos(basin)[:1], {}, with_halos(basin)[1], basin.grid
    )
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(whole)):
        np.testing.assert_array_equal(a, b)
    assert (np.asarray(here["last"]["kernel"]) == 0).all()


def test_level_of_water_everywhere():
    halos = HaloExchange(make_layout((4, 5), 1, 1), SerialBackend())
    level = constant_level(halos, Field(jnp.ones((4, 5)), "c"))
    wet = np.asarray(level.wet.data)
    assert (wet[1:-1] == 1).all() and (wet[[0, -1]] == 0).all()  # periodic in x, walls in y
