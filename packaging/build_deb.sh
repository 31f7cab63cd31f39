#!/usr/bin/env bash
# make deb: dist/opticaldr_<version>_<architecture>.deb, with everything it needs under /opt/opticaldr.
# A clinic's machine reaches no index and must not mix our libraries with its own, so they come inside, in a
# virtual environment of the system's Python; picamera2 is taken from the system (Raspberry Pi OS packages it).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
minor=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$($python -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
root=build/deb/root
rm -rf build/deb && mkdir -p build/deb dist
rm -rf build/lib  # setuptools would pack files that are gone
"$python" -m pip wheel --quiet --no-deps --wheel-dir build/deb .
wheel=$(ls build/deb/*.whl)
version=$(basename "$wheel" | cut -d- -f2 | sed 's/\.dev/~dev/')
site=$root/opt/opticaldr/lib/python$minor/site-packages
"$python" -m pip install --quiet --constraint constraints.txt --only-binary :all: --no-compile --target "$site" "$wheel[clinic]"
rm -rf "$site/bin"
mkdir -p "$root/opt/opticaldr/bin"
ln -s /usr/bin/python3 "$root/opt/opticaldr/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = true\n' > "$root/opt/opticaldr/pyvenv.cfg"
printf '#!/opt/opticaldr/bin/python3\nfrom opticaldr.cli.main import main\n\nmain()\n' > "$root/opt/opticaldr/bin/opticaldr"
chmod 755 "$root/opt/opticaldr/bin/opticaldr"
install -d "$root/usr/bin" && ln -s /opt/opticaldr/bin/opticaldr "$root/usr/bin/opticaldr"
install -D -m 644 packaging/opticaldr.service "$root/lib/systemd/system/opticaldr.service"
install -D -m 644 packaging/60-opticaldr.rules "$root/lib/udev/rules.d/60-opticaldr.rules"
install -D -m 644 packaging/opticaldr.sysusers "$root/usr/lib/sysusers.d/opticaldr.conf"
install -D -m 644 -t "$root/usr/share/doc/opticaldr" docs/deploy.md docs/device.md
install -D -m 644 LICENSE "$root/usr/share/doc/opticaldr/copyright"
install -m 644 NOTICE "$root/usr/share/doc/opticaldr/NOTICE"
install -d "$root/DEBIAN"
install -m 755 packaging/postinst packaging/prerm packaging/postrm "$root/DEBIAN/"
cat > "$root/DEBIAN/control" <<CONTROL
Package: opticaldr
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: OpticalDR maintainers <opticaldr@localhost>
Installed-Size: $(du -sk "$root" | cut -f1)
Depends: python3 (>= $minor), python3 (<< $next), systemd, libc6
Suggests: python3-picamera2
Section: science
Priority: optional
Description: camera with a learned lens, that keeps no pictures
 Estimates from a learned lens, run in a sealed process. Research use only: not a diagnosis, not triage.
CONTROL
dpkg-deb --root-owner-group -Zgzip -z1 --build "$root" "dist/opticaldr_${version}_$(dpkg --print-architecture).deb"
