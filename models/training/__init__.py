"""Learning the lens and its networks on simulated optics, and adapting the networks to measured ones."""

from opticaldr.models.training.config import DesignConfig, FinetuneConfig, config_toml, load_config
from opticaldr.models.training.design import design_lens
from opticaldr.models.training.finetune import finetune
from opticaldr.models.training.loop import Diverged

__all__ = [
    "DesignConfig",
    "Diverged",
    "FinetuneConfig",
    "config_toml",
    "design_lens",
    "finetune",
    "load_config",
]
