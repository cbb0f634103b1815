"""Planes: transport in two dimensions, with a closure for what is unresolved in the third."""

from dogcm.planar.closures import Held, Layers, PlaneClosure, Recurrent, Scene
from dogcm.planar.files import load_tree, save_tree
from dogcm.planar.model import PlaneModel, PlaneState, PlaneTransport
from dogcm.planar.plane import Plane, PlaneError, make_plane, place_source, with_diffusivity
from dogcm.planar.training import adam_by_name

__all__ = [
    "Held",
    "Layers",
    "Plane",
    "PlaneClosure",
    "PlaneError",
    "PlaneModel",
    "PlaneState",
    "PlaneTransport",
    "Recurrent",
    "Scene",
    "adam_by_name",
    "load_tree",
    "make_plane",
    "place_source",
    "save_tree",
    "with_diffusivity",
]
