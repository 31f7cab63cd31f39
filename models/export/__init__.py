"""From networks and a calibration to the graphs that run on the device, and the signed bundle around them."""

from opticaldr.models.export.bundle import NotTheSame, export

__all__ = ["NotTheSame", "export"]
