"""The networks: the face recogniser that the lens is trained against."""

from opticaldr.models.networks.recogniser import MarginSoftmax, Recogniser, fit_recogniser

__all__ = ["MarginSoftmax", "Recogniser", "fit_recogniser"]
