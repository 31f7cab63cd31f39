"""A clinic's settings, as a person would write them wrongly; and a run with everything switched on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from device_entries import BODY
from test_mqtt import MOSQUITTO, broker, free_port, listener, make_certificate, until
from test_page import ask, press, serving, state_of, status  # noqa: F401

from opticaldr.artefacts import create_key, load_key
from opticaldr.device.audit import AuditLog, read_log
from opticaldr.device.delivery import Cursor, Delivery, Undeliverable
from opticaldr.device.landlock import interface_version
from opticaldr.device.settings import read_secret, read_settings
from opticaldr.errors import Refusal

FHIR = '[fhir]\nurl = "{url}"\nsubject = {{ system = "https://clinic.example/p", value = "P-0042" }}\n'
needs_landlock = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")


def opticaldr(*arguments, **options):
    command = [sys.executable, "-m", "opticaldr.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[fhir", "is not TOML"),
        ("[fir]\n", "fir: there is no such setting here, only fhir, mqtt, page"),
        ("[page]\ncolour = 1\n", "page.colour: there is no such setting here, only host, port, consent"),
        ('[fhir]\nurl = "https://a.example"\n', "fhir.subject: is missing"),
        ('[fhir]\nurl = "https://a.example"\nsubject = {system = "P", value = "1"}', "must be a URI"),
        ('[fhir]\nurl = "https://a.example"\nsubject = {system = "a:b"}', "fhir.subject.value: is missing"),
        (FHIR.format(url="http://fhir.example/r4"), "must be https"),
        (FHIR.format(url="fhir.example/r4"), "must look like"),
        (FHIR.format(url="https://me:secret@fhir.example/r4"), "without user"),
        (FHIR.format(url="https://fhir.example:port/r4"), "fhir: "),
        ('[mqtt]\nhost = "broker"\ntls = false\n', "mqtt: tls may be off only"),
        ('[mqtt]\nhost = "broker"\ntopic = "rooms/#"\n', "mqtt.topic: must be a topic without"),
        ('[page]\nhost = "0.0.0.0"\n', "needs certificate_file, key_file and password_file"),
        ('[page]\ncertificate_file = "a.pem"\n', "belong together"),
        ("[page]\nport = 0\n", "page.port"),
    ],
)
def test_settings_that_are_wrong_are_refused_in_a_line(tmp_path, text, why):
    path = tmp_path / "clinic.toml"
    path.write_text(text)
    with pytest.raises(Refusal) as refusal:
        read_settings(path)
    assert why in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_files_are_named_from_the_folder_of_the_settings(tmp_path):
    path = tmp_path / "clinic.toml"
    path.write_text('[mqtt]\nhost = "broker.example"\nca_file = "ca.pem"\npassword_file = "/etc/secret"\n')
    mqtt = read_settings(path).mqtt
    assert mqtt.ca_file == tmp_path / "ca.pem"
    assert mqtt.password_file == Path("/etc/secret")
    with pytest.raises(Refusal, match=r"cannot be read .*; let this user read it"):
        read_settings(tmp_path / "nothing.toml")


def test_a_secret_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(0o644)
    with pytest.raises(Refusal, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == "abc"
    path.write_text("\n")
    with pytest.raises(Refusal, match="is empty"):
        read_secret(path)


@pytest.mark.proves("USER-1")
@needs_landlock
def test_what_is_wrong_at_start_is_one_line_and_exit_code_1(bundle, tmp_path, request):
    served = request.getfixturevalue("status")
    make_certificate(tmp_path / "a")
    make_certificate(tmp_path / "b")
    with serving(served) as (port, _):
        wrong = {
            f"[page]\nport = {port}\n": f"cannot listen on 127.0.0.1:{port} (address already in use)",
            '[page]\ncertificate_file = "a.pem"\nkey_file = "b.key"\n': "cannot be used",
            FHIR.format(
                url=f"http://127.0.0.1:{port}/status"
            ): "answered 404 with application/json, not a Cap",
            FHIR.format(url=f"http://127.0.0.1:{port}")
            + 'ca_file = "c.pem"\ntoken_file = "t"\n': "cannot be read",
            '[mqtt]\nhost = "broker.example"\nca_file = "nothing.pem"\n': "nothing.pem",
        }
        for text, why in wrong.items():
            (tmp_path / "clinic.toml").write_text(text)
            done = opticaldr(
                "run",
                bundle,
                "--settings",
                tmp_path / "clinic.toml",
                "--out",
                tmp_path / "run",
                "--frames",
                1,
            )
            assert done.returncode == 1, done.stderr
            assert why in done.stderr
            assert len(done.stderr.splitlines()) == 1
            assert "started" not in [entry["kind"] for entry in read_log(tmp_path / "run" / "audit.ndjson")]


def test_replay_is_a_verb(tmp_path):
    class Fussy:
        name = "fhir"

        def deliver(self, entry):
            raise Undeliverable("422")

        def close(self):
            pass

    key = create_key(tmp_path / "device.key")
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        log.append("estimate", BODY)
        Delivery(log, Fussy(), tmp_path).pump()
        busy = opticaldr("audit", "replay", tmp_path, "--sink", "fhir")
        assert "another run writes" in busy.stderr
    done = opticaldr("audit", "replay", tmp_path, "--sink", "fhir", "--json")
    assert json.loads(done.stdout)["entries_to_send_again"] == 1
    assert Cursor.of("fhir", tmp_path).dead == {}
    again = opticaldr("audit", "replay", tmp_path, "--sink", "fhir")
    assert again.returncode == 1
    assert "refused nothing" in again.stderr
    assert opticaldr("audit", "replay", tmp_path / "nowhere", "--sink", "fhir").returncode == 1
    with AuditLog(tmp_path / "audit.ndjson", load_key(tmp_path / "device.key")) as log:
        assert log.kinds["replay"] == 1


def test_the_password_verb_keeps_only_a_hash(tmp_path):
    login = pytest.importorskip("opticaldr.device.page.login")
    path = tmp_path / "password"
    words = "correct horse battery"
    done = opticaldr("password", path, input=f"{words}\n{words}\n")
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert words not in path.read_text()
    assert login.Login(read_secret(path)).attempt("here", words)
    assert "exists already" in opticaldr("password", path, input=f"{words}\n{words}\n").stderr
    assert "too short" in opticaldr("password", tmp_path / "p", input="abc\nabc\n").stderr


@needs_landlock
@pytest.mark.skipif(MOSQUITTO is None, reason="the Debian package mosquitto is not installed")
def test_everything_at_once_in_120_mib(bundle, tmp_path):
    """Page, FHIR and MQTT on: all three sinks get the same estimates, and voice stays small."""
    pytest.importorskip("fhirstarter", reason="fhirstarter is not installed")
    from fhir_server import Server, application
    from fhir_server import serving as serving_fhir

    server, page, mqtt = Server(), free_port(), free_port()
    with (
        serving_fhir(application(server)) as url,
        broker(tmp_path, mqtt),
        listener(mqtt, "opticaldr/estimate") as heard,
    ):
        settings = f'{FHIR.format(url=url)}[mqtt]\nhost = "127.0.0.1"\nport = {mqtt}\ntls = false\n'
        (tmp_path / "clinic.toml").write_text(f"{settings}[page]\nport = {page}\n")
        command = [sys.executable, "-m", "opticaldr.cli.main", "run", bundle, "--interval", "1", "--json"]
        command += ["--settings", tmp_path / "clinic.toml", "--out", tmp_path / "run"]
        voice = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        until(lambda: state_of(page)["shutter"] == "closed")
        press(page, True)
        until(lambda: len(heard) >= 3 and len(server.all("Observation")) >= 3)
        memory = Path(f"/proc/{voice.pid}/status").read_text()
        metrics = ask(page, "/metrics")[2]
        voice.terminate()
        summary = json.loads(voice.communicate(timeout=60)[0])
    resident = int(memory.partition("VmHWM:")[2].split()[0]) / 1024
    assert resident < 120, resident
    assert 'opticaldr_delivery_up{sink="fhir"} 1' in metrics
    assert summary["passed"]
    log = [entry for entry in read_log(tmp_path / "run" / "audit.ndjson") if entry["kind"] == "estimate"]
    hashes = {entry["hash"] for entry in log}
    lines = (tmp_path / "run" / "estimates.ndjson").read_text().splitlines()
    assert {json.loads(line)["hash"] for line in lines} == hashes
    assert {o["identifier"][0]["value"] for o in server.all("Observation")} == hashes
    assert {json.loads(message.payload)["hash"] for message in heard} == hashes
    assert all("HTEST" in json.dumps(o["meta"]) for o in server.all("Observation"))


@pytest.mark.proves("VOICE-1")
@pytest.mark.slow
@pytest.mark.skipif(MOSQUITTO is None, reason="the Debian package mosquitto is not installed")
def test_a_day_at_full_rate_reaches_the_real_servers_afterwards(tmp_path, key, monkeypatch):
    """A day of one estimate a minute is logged while both are down; then they come up."""
    pytest.importorskip("fhirstarter", reason="fhirstarter is not installed")
    import os

    from fhir_server import Server, application
    from fhir_server import serving as serving_fhir

    from opticaldr.device.fhir import FhirServer
    from opticaldr.device.mqtt import MqttBroker

    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    server, fhir, mqtt, clock = Server(), free_port(), free_port(), [0.0]
    subject = {"system": "https://clinic.example/p", "value": "P-0042"}
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        sinks = (
            FhirServer(f"http://127.0.0.1:{fhir}", subject, "b" * 64, key),
            MqttBroker("127.0.0.1", mqtt, "room", "camera"),
        )
        deliveries = [Delivery(log, sink, tmp_path, clock=lambda: clock[0]) for sink in sinks]
        for _ in range(24 * 60):
            log.append("estimate", BODY)
            clock[0] += 60.0
            for delivery in deliveries:
                assert delivery.pump() == 0
        assert log.size < 2**21
        clock[0] += 300.0
        with (
            serving_fhir(application(server), fhir),
            broker(tmp_path, mqtt),
            listener(mqtt, "room/estimate") as heard,
        ):
            until(sinks[1]._client.is_connected)
            assert [delivery.pump() for delivery in deliveries] == [1440, 1440]
            until(lambda: len(heard) == 1440)
            for delivery in deliveries:
                delivery.close()
        assert len(server.all("Observation")) == 1440
        assert len({json.loads(message.payload)["hash"] for message in heard}) == 1440
        assert [delivery.waiting for delivery in deliveries] == [0, 0]
