"""All components that ship with the package: importing this module defines them."""

from dogcm.dynamics import coriolis_cd, momentum, pressure, tracer_advection, tracer_transport
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
)
from dogcm.physics.surface import bulk, fluxes, ice, shortwave

MODULES = (
    background_mixing,
    bulk,
    convection,
    coriolis_cd,
    eddy_viscosity,
    eos,
    eos_jmd95,
    fluxes,
    ice,
    isoneutral,
    kpp,
    laplacian,
    lateral,
    momentum,
    pressure,
    richardson,
    shortwave,
    tke,
    tracer_advection,
    tracer_transport,
    visbeck,
)
