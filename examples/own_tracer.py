"""A passive tracer of one's own: argon-39, which decays and is renewed at the surface."""

import dogcm


class Argon39(dogcm.TracerKind):
    """Ratio of argon-39 to the atmosphere's, which decays and is drawn to 1 at the surface."""

    half_life: float = dogcm.option(268.0, "year", "of the decay", gt=0)
    exchange: float = dogcm.parameter(1.0e-5, "m s-1", "speed of the exchange with the air", ge=0)

    def variables(self):
        text = "ratio of argon-39 to the atmosphere"
        return (dogcm.TracerVariable(self.label, "1", text, rain="local"),)

    def initial(self, grid):
        return {self.label: grid.mask_c.crop(0) * 0.9}

    def sources(self, water):
        c = water.tracers[self.label]
        return dogcm.Sources(
            rates={self.label: c * (-0.6931 / (self.half_life * water.year))},
            surface={self.label: (1.0 - c.level(0)) * water.parameters["exchange"]},
        )


ocean = dogcm.Model(
    "two_basin",
    {"grid.nx": 30, "grid.ny": 18, "run.output": {}},
    tracers={"argon": Argon39(exchange=2e-5)},
)
ocean.run(days=20, progress=False)
ds = ocean.dataset(["argon"])
if ds is not None:
    print(ds.argon.mean(("y", "x") if "y" in ds.dims else ("lat", "lon")).values.round(4))
