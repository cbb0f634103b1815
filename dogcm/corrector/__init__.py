"""Neural correctors: networks that see Fields, with conservative outputs."""

from dogcm.corrector.alone import network_alone
from dogcm.corrector.config import CorrectorConfig
from dogcm.corrector.corrector import Corrector, build_corrector, choose_halo_strategy
from dogcm.corrector.weights import WeightsError, load_weights, save_weights

__all__ = [
    "Corrector",
    "CorrectorConfig",
    "WeightsError",
    "build_corrector",
    "choose_halo_strategy",
    "load_weights",
    "network_alone",
    "save_weights",
]
