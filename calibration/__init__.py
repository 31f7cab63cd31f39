"""Measure the optics that were really built: sensor noise, spots at every depth, the as-built fit, quality gates."""

from opticaldr.calibration.calibrate import calibrate
from opticaldr.calibration.capture import Plan

__all__ = ["Plan", "calibrate"]
