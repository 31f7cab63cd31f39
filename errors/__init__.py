"""What a person must hear when their input is refused; the ground every room stands on."""

from opticaldr.errors.refusal import Refusal

__all__ = ["Refusal"]
