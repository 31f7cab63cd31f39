#!/bin/sh
# Unpack Debian 13's MicroPython, with the libraries it needs, into a folder of its own; install nothing.
#   tests/board/get_micropython.sh FOLDER     makes FOLDER/micropython
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/root"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" > "$folder/sources.list"
apt() {
    apt-get -qq -o Dir::State="$folder" -o Dir::State::status=/dev/null -o Dir::Cache="$folder/cache" \
        -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Sandbox::User="$(id -un)" "$@"
}
apt update
(cd "$folder/cache" && apt download micropython libc6 libffi8 libmbedcrypto16 libmbedtls21 libmbedx509-7)
for package in "$folder"/cache/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
loader=$(find "$folder/root" -name 'ld-linux*.so.*' | head -n 1)
libraries=$(dirname "$(find "$folder/root" -name 'libffi.so.8' | head -n 1)")
cat > "$folder/micropython" <<END
#!/bin/sh
exec "$loader" --library-path "$libraries" "$folder/root/usr/bin/micropython" "\$@"
END
chmod +x "$folder/micropython"
"$folder/micropython" -c 'import sys; print("MicroPython", *sys.implementation.version[:3])'
