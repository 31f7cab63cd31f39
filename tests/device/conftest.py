import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.artefacts import create_key, load_key

sys.path.insert(0, str(Path(__file__).parent))
os.environ["FHIR_SEQUENCE"] = "R4B"  # fhirstarter reads it when it is imported
from device_bundle import make_bundle


@pytest.fixture(scope="session")
def maker_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of the private key that signs the bundle; its public half lies beside it."""
    path = tmp_path_factory.mktemp("maker") / "maker.key"
    create_key(path)
    return path


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, maker_key: Path) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle", load_key(maker_key))


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()
