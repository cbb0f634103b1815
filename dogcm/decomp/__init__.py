"""Who owns what: layouts, tiles, scatter and gather, and messages between ranks on the host."""

from dogcm.decomp.boxes import Boxes
from dogcm.decomp.communicator import MPICommunicator, SerialCommunicator, world
from dogcm.decomp.depth import Halo
from dogcm.decomp.devices import on_devices
from dogcm.decomp.layout import Layout, LayoutError, Tile, choose_layout, layout_for, make_layout
from dogcm.decomp.tiles import Decomposition

__all__ = [
    "Boxes",
    "Decomposition",
    "Halo",
    "Layout",
    "LayoutError",
    "MPICommunicator",
    "SerialCommunicator",
    "Tile",
    "choose_layout",
    "layout_for",
    "make_layout",
    "on_devices",
    "world",
]
