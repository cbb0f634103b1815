"""Networks on Fields, one file each: per column, convolutional, U-Net, with attention."""

from dogcm.corrector.networks import attention, column, conv, unet
from dogcm.corrector.networks.base import MARGIN, HaloNetwork, Network

#: All networks that ship: importing this package defines them.
MODULES = (attention, column, conv, unet)

__all__ = ["MARGIN", "MODULES", "HaloNetwork", "Network"]
