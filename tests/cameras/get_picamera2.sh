#!/usr/bin/env bash
# Install picamera2 itself, without libcamera, to check the double in libcamera_stack.py against its real signatures:
#   sudo apt install libcap-dev          # python-prctl builds against it
#   tests/cameras/get_picamera2.sh FOLDER
#   OPTICALDR_PICAMERA2=FOLDER/bin/python pytest tests/cameras/test_picamera2_signatures.py
set -euo pipefail
folder=${1:?usage: get_picamera2.sh FOLDER}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet "picamera2==${PICAMERA2:-0.3.38}"
"$folder/bin/python" "$(dirname "$0")/real_signatures.py" > /dev/null
echo "export OPTICALDR_PICAMERA2=$(realpath "$folder")/bin/python"
