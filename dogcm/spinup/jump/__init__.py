"""The learned jump: from the first years of a spin-up to its equilibrium by a network.

After Gao et al. (2025), arXiv:2509.23453, for the ocean, with what is conserved conserved.
"""

from dogcm.spinup.jump.config import JumpConfig, JumpVariable, age_in_years
from dogcm.spinup.jump.features import Features, features_of
from dogcm.spinup.jump.method import LearnedJump
from dogcm.spinup.jump.network import JumpNetwork
from dogcm.spinup.jump.predict import Prediction, predict
from dogcm.spinup.jump.reference import Reference
from dogcm.spinup.jump.training import Example, Prepared, Training, reference_of, train_jump
from dogcm.spinup.jump.weights import JumpError, JumpWeights

__all__ = [
    "Example",
    "Features",
    "JumpConfig",
    "JumpError",
    "JumpNetwork",
    "JumpVariable",
    "JumpWeights",
    "LearnedJump",
    "Prediction",
    "Prepared",
    "Reference",
    "Training",
    "age_in_years",
    "features_of",
    "predict",
    "reference_of",
    "train_jump",
]
