"""The service as it is shipped: hardened, watched, told apart from a crash; bundles come and go safely."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from device_bundle import make_bundle
from test_run import voice_process

from opticaldr.artefacts import create_key, load_key
from opticaldr.cli import main
from opticaldr.device.audit import AuditLog
from opticaldr.device.landlock import interface_version
from opticaldr.device.owner import require_owner
from opticaldr.device.run import run
from opticaldr.device.update import roll_back, update
from opticaldr.errors import Refusal

pytestmark = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")
PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "opticaldr.service"


@pytest.mark.proves("CLINIC-2")
def test_the_unit_is_hardened():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at files")
    assert done.returncode == 0, done.stdout


def test_the_unit_is_understood(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/opticaldr/bin/opticaldr", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    about_us = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert about_us == []


def test_the_service_manager_hears_that_it_is_ready_and_alive(bundle, tmp_path, monkeypatch):
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(60)
        process = voice_process(bundle, tmp_path / "out", interval=1)
        said = [manager.recv(64)]
        while b"READY=1" not in said:
            said.append(manager.recv(64))
        assert manager.recv(64) == b"WATCHDOG=1"
        process.send_signal(signal.SIGSTOP)
        manager.settimeout(1.0)
        with pytest.raises(TimeoutError):  # a voice that hangs says nothing
            while True:
                manager.recv(64)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture
def other(tmp_path, maker_key):
    """Another bundle of the same maker."""
    return make_bundle(tmp_path / "other", load_key(maker_key), purpose="Research use only. Another one.")


def current(store):
    return (store / "current").resolve()


@pytest.mark.proves("CLINIC-1")
def test_a_bundle_is_installed_tried_and_rolled_back(bundle, other, tmp_path, maker_key):
    store, trust = tmp_path / "bundles", Path(f"{maker_key}.pub")
    first = update(bundle, store, trust)
    assert current(store).name == first.id[:16]
    second = update(other, store, trust)
    assert current(store).name == second.id[:16]
    assert roll_back(store, trust).id == first.id
    assert current(store).name == first.id[:16]
    assert not list(store.glob(".*"))


@pytest.mark.proves("CLINIC-1")
def test_a_bundle_that_fails_its_probe_changes_nothing(bundle, tmp_path, maker_key):
    store, trust = tmp_path / "bundles", Path(f"{maker_key}.pub")
    first = update(bundle, store, trust)
    broken = make_bundle(tmp_path / "broken", load_key(maker_key), embedding=99)
    with pytest.raises(Refusal, match=r"does not work here .* nothing was changed"):
        update(broken, store, trust)
    assert current(store).name == first.id[:16]
    assert {path.name for path in store.iterdir()} == {"current", first.id[:16]}
    with pytest.raises(Refusal, match="no previous"):
        roll_back(store, trust)


@pytest.mark.proves("BUNDLE-2")
def test_foreign_unsigned_changed_and_expired_bundles_are_refused(bundle, tmp_path, maker_key):
    store, trust = tmp_path / "bundles", Path(f"{maker_key}.pub")
    create_key(tmp_path / "stranger")
    with pytest.raises(Refusal, match="not signed with this key"):
        update(bundle, store, tmp_path / "stranger.pub")
    changed = shutil.copytree(bundle, tmp_path / "changed")
    (changed / "head.onnx").write_bytes(b"")
    with pytest.raises(Refusal, match="not what was sealed"):
        update(changed, store, trust)
    old = make_bundle(tmp_path / "old", load_key(maker_key), expires="2026-01-01T00:00:00Z")
    with pytest.raises(Refusal, match="expired on 2026-01-01"):
        update(old, store, trust)
    assert not store.exists() or not list(store.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in somebody else's folder")
def test_root_leaves_nothing_in_the_services_folder(bundle, tmp_path, maker_key):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    key = load_key(maker_key)
    with pytest.raises(Refusal, match="belongs to user 12345"):
        update(bundle, home / "bundles", Path(f"{maker_key}.pub"))
    with pytest.raises(Refusal, match="belongs to user 12345"):
        run(bundle, out=home / "run", frames=1)
    with pytest.raises(Refusal, match="belongs to user 12345"), AuditLog(home / "audit.ndjson", key):
        pass
    assert not list(home.iterdir())
    with AuditLog(tmp_path / "audit.ndjson", key):
        pass
    os.chown(tmp_path / "audit.ndjson", 12345, 12345)
    with pytest.raises(Refusal, match="belongs to user 12345"), AuditLog(tmp_path / "audit.ndjson", key):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in somebody else's folder")
@pytest.mark.parametrize("user", ["nobody", 12345])
def test_what_root_is_told_to_put_before_the_command_makes_it_the_owners(tmp_path, user):
    known = pwd.getpwnam(user).pw_uid if isinstance(user, str) else user
    os.chown(tmp_path, known, 23456)
    with pytest.raises(Refusal) as refusal:
        require_owner(tmp_path)
    become = re.search("; put (.*) before the command$", str(refusal.value))[1]
    if user == "nobody":
        assert become == "sudo -u nobody"
        return
    assert become == "setpriv --reuid=12345 --regid=23456 --clear-groups"  # sudo knows no user without a name
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here")
    done = subprocess.run(f"{become} id -u", shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "12345\n"


def test_update_is_a_verb(bundle, tmp_path, maker_key, monkeypatch, capsys):
    options = ["--store", str(tmp_path / "bundles"), "--trust", f"{maker_key}.pub", "--json"]
    monkeypatch.setattr(sys, "argv", ["opticaldr", "update", str(bundle), *options])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["current"]
    assert "trying it on a simulated subject" in told.err


INSTALL = """
set -eu
mount -t tmpfs none "$1" && mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"
mount -t proc proc "$1/root/proc" && mount --bind /dev "$1/root/dev"
cp "$2" "$1/root/opticaldr.deb"
chroot "$1/root" /bin/sh -eu -c '
    unset PYTHONPATH
    dpkg -i /opticaldr.deb
    systemd-analyze verify /lib/systemd/system/opticaldr.service 2>&1 | grep opticaldr.service && exit 9
    getent passwd opticaldr >/dev/null
    cd / && opticaldr doctor --json && opticaldr --help >/dev/null
    dpkg --remove opticaldr
    [ ! -e /lib/systemd/system/opticaldr.service ]
    dpkg --purge opticaldr
    for left in opt/opticaldr etc/opticaldr var/lib/opticaldr usr/bin/opticaldr lib/udev/rules.d/60-opticaldr.rules; do
        [ ! -e /$left ]
    done
    echo REMOVED CLEANLY
'
"""


@pytest.mark.proves("CLINIC-2")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_package_is_built_installed_and_removed_cleanly(tmp_path):
    if os.geteuid() != 0 or shutil.which("dpkg-deb") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root on a Debian system with its own python3")
    root = PACKAGING.parent
    subprocess.run(["make", "deb", f"PYTHON={sys.executable}"], cwd=root, check=True)
    package = max((root / "dist").glob("opticaldr_*.deb"), key=lambda path: path.stat().st_mtime)
    command = ["unshare", "--mount", "/bin/sh", "-c", INSTALL, "sh", str(tmp_path), str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "mount:" in done.stderr and "REMOVED" not in done.stdout:
        pytest.skip(f"no overlay can be mounted here: {done.stderr.splitlines()[-1]}")
    assert "REMOVED CLEANLY" in done.stdout, done.stdout + done.stderr
