"""All components that ship with the package: importing this module defines them."""

from dogcm.dynamics import (
    coriolis_cd,
    free_surface,
    implicit_surface,
    momentum,
    ppm,
    pressure,
    tracer_advection,
    tracer_transport,
)
from dogcm.physics import (
    background_mixing,
    convection,
    eddy_viscosity,
    eos,
    eos_jmd95,
    isoneutral,
    kpp,
    laplacian,
    lateral,
    richardson,
    tke,
    visbeck,
    zanna_bolton,
)
from dogcm.physics.surface import bulk, fluxes, ice, shortwave
from dogcm.timestepping import schemes

MODULES = (
    background_mixing,
    bulk,
    convection,
    coriolis_cd,
    eddy_viscosity,
    eos,
    eos_jmd95,
    fluxes,
    free_surface,
    ice,
    implicit_surface,
    isoneutral,
    kpp,
    laplacian,
    lateral,
    momentum,
    ppm,
    pressure,
    richardson,
    schemes,
    shortwave,
    tke,
    tracer_advection,
    tracer_transport,
    visbeck,
    zanna_bolton,
)
