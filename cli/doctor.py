"""``opticaldr doctor``: what is installed here and what each part unlocks."""

import typer

from opticaldr.cli.options import Json

UNLOCKS = {
    "design": (("torch", "onnx", "onnxscript", "lightning_fabric", "safetensors", "tensorboardX"),
               "design, finetune, export, evaluate, ablate, demo"),
    "fab": (("gdstk", "trimesh", "tifffile", "x3pio"), "fabricate, inspect"),
    "slm": (("pygame",), "showing a pattern on an SLM"),
    "export": (("h5py", "OpenEXR", "tifffile"), "calibrate --export: PSFs as HDF5, TIFF or OpenEXR"),
    "clinic": (("fastapi", "uvicorn", "paho"), "the local page, delivery to MQTT"),
    "pi": (("picamera2",), "the Raspberry Pi camera (Debian package python3-picamera2)"),
}  # fmt: skip
BASE = (
    "numpy",
    "scipy",
    "cv2",
    "onnxruntime",
    "pydantic",
    "serial",
    "cryptography",
    "jinja2",
    "matplotlib",
    "rich",
    "array_api_compat",
    "threadpoolctl",
    "PIL",
)


def doctor(as_json: Json = False) -> None:
    """Say what is installed, what it unlocks, and what is lacking.

    Also which protections of a deployed camera this machine can enforce.
    """
    import platform
    from importlib.metadata import version
    from importlib.util import find_spec

    from opticaldr.cli.console import tell
    from opticaldr.device.confinement import examine

    missing = {
        extra: [module for module in modules if find_spec(module) is None]
        for extra, (modules, _) in {"base": (BASE, ""), **UNLOCKS}.items()
    }
    report = {
        "opticaldr": version("opticaldr"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "base": "complete" if not missing["base"] else "missing " + ", ".join(missing["base"]),
    }
    for extra, (_, unlocks) in UNLOCKS.items():
        if missing[extra]:
            remedy = "" if extra == "pi" else f"; pip install 'opticaldr[{extra}]'"
            report[extra] = f"not installed (would unlock: {unlocks}{remedy})"
        else:
            report[extra] = f"installed (unlocks: {unlocks})"
    unenforced = {} if missing["base"] else examine()
    report["protections"] = (
        "all enforced here"
        if not unenforced
        else "not enforced: " + "; ".join(f"{name} ({why})" for name, why in unenforced.items())
    )
    tell(report, as_json=as_json)
    if missing["base"]:
        raise typer.Exit(1)
