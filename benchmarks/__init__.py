"""Figures about speed and accuracy: ``python -m benchmarks.<room> [--json]``, each beside a peer or a floor.

A room's module has ``figures() -> list[Figure]`` and ends with ``main("<room>", figures)`` under
``if __name__ == "__main__"``. Ratios are taken within one run, because machines are shared and noisy.
"""
