"""Equation of state, mixing, lateral friction and diffusion, surface fluxes."""
