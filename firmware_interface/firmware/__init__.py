"""What runs on the board: MicroPython for a Raspberry Pi Pico that runs unchanged under CPython.

``wire`` and ``application`` (with ``axis``) know no pin; ``hal_rp2`` knows nothing else; ``hal_sim`` puts the
simulated world in the place of the pins.
"""
