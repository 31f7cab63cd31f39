#!/usr/bin/env bash
# make release: the wheel, a CycloneDX bill of what it brings along, and checksums, beside the .deb in dist/.
# The wheel is tried in a clean environment of every supported Python that this machine has.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
version=$($python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
wheel=dist/opticaldr-$version-py3-none-any.whl
rm -rf build/release build/lib "$wheel" && mkdir -p build/release dist
"$python" -m pip wheel --quiet --no-deps --wheel-dir dist .
tried=""
for candidate in python3.11 python3.12 python3.13; do
    "$candidate" -c 'import venv' 2>/dev/null || continue
    "$candidate" -m venv "build/release/$candidate"
    "build/release/$candidate/bin/python" -m pip install --quiet --constraint constraints.txt "$wheel[design,fab,slm,export,clinic]"
    "build/release/$candidate/bin/opticaldr" --version
    (cd build/release && "./$candidate/bin/opticaldr" doctor && "./$candidate/bin/opticaldr" \
        fabricate ../../examples/clinic/design --process grayscale --parts 2 --out "$candidate.mask") >"build/release/$candidate.log"
    tried="$tried $candidate"
done
[ -n "$tried" ] || { echo "no Python to try the wheel with" >&2; exit 1; }
set -- $tried
.venv/bin/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible \
    --output-file "dist/opticaldr-$version.cdx.json" "build/release/$1/bin/python"
(cd dist && sha256sum "opticaldr-$version-py3-none-any.whl" "opticaldr-$version.cdx.json" "opticaldr_${version/.dev/\~dev}_"*.deb >SHA256SUMS)
echo "tried with:$tried"; ls -l dist
