"""MQTT against a real Mosquitto: every entry arrives, a broker that was away gets what it missed, and the last
will is spoken."""

import datetime
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from device_entries import BODY

from opticaldr.device.audit import AuditLog
from opticaldr.device.delivery import LONGEST_PAUSE, Delivery
from opticaldr.device.mqtt import MqttBroker
from opticaldr.device.tls import client_context, server_context
from opticaldr.errors import Refusal

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="the Debian package mosquitto is not installed")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def broker(folder, port, settings="allow_anonymous true"):
    """Mosquitto on loopback."""
    config = folder / "mosquitto.conf"
    # As root it would become another user, who may not read the folder of a test.
    config.write_text(f"user root\nlistener {port} 127.0.0.1\n{settings}\n")
    process = subprocess.Popen(
        [MOSQUITTO, "-c", config], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: answers(port))
        yield
    finally:
        process.terminate()
        process.wait()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition):
    for _ in range(400):
        if condition():
            return
        time.sleep(0.025)
    raise AssertionError("it did not happen within 10 s")


@contextmanager
def listener(port, topic="room/#"):
    """A clinic's client; yields the messages it gets."""
    from paho.mqtt.enums import CallbackAPIVersion

    heard, ready = [], []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda client, data, message: heard.append(message)
    client.on_subscribe = lambda *about: ready.append(True)
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_start()
    until(lambda: ready)
    yield heard
    client.disconnect()
    client.loop_stop()


def statuses(heard):
    return [message.payload for message in heard if message.topic == "room/status"]


@pytest.fixture
def log(tmp_path, key):
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        yield log


@needs_broker
def test_entries_arrive_under_their_key_and_goodbye_is_said(log, tmp_path):
    port = free_port()
    with broker(tmp_path, port), listener(port) as heard:
        sink = MqttBroker("127.0.0.1", port, "room", "camera")
        until(lambda: statuses(heard) == [b"online"])
        entries = [log.append(kind, BODY) for kind in ("estimate", "hello", "event")]
        delivery = Delivery(log, sink, tmp_path)
        assert delivery.pump() == 2
        until(lambda: len(heard) == 3)
        for message, entry in zip(heard[1:], (entries[0], entries[2]), strict=True):
            assert message.topic == f"room/{entry['kind']}"
            assert message.qos == 1
            assert not message.retain
            assert json.loads(message.payload)["body"] == entry["body"]
            assert message.properties.UserProperty == [("key", entry["hash"])]
            assert message.properties.ContentType == "application/json"
        sink.close()
        until(lambda: statuses(heard) == [b"online", b"offline"])


@needs_broker
def test_a_broker_that_comes_and_goes_misses_nothing(log, tmp_path):
    port, clock = free_port(), [0.0]
    sink = MqttBroker("127.0.0.1", port, "room", "camera")
    delivery = Delivery(log, sink, tmp_path, clock=lambda: clock[0])
    log.append("estimate", BODY)
    assert delivery.pump() == 0
    assert str(port) in delivery.trouble
    keys = []
    for _ in range(2):
        with broker(tmp_path, port), listener(port, "room/estimate") as heard:
            until(sink._client.is_connected)
            clock[0] += LONGEST_PAUSE
            delivery.pump()
            until(lambda heard=heard: heard)
            keys += [dict(message.properties.UserProperty)["key"] for message in heard]
        until(lambda: not sink._client.is_connected())
        log.append("estimate", BODY)
        assert delivery.pump() == 0
    assert len(keys) == len(set(keys)) == 2
    assert delivery.waiting == 1
    sink.close()


@needs_broker
def test_a_camera_that_dies_leaves_its_last_will(tmp_path):
    port = free_port()
    script = (
        "import time; from opticaldr.device.mqtt import MqttBroker\n"
        f"sink = MqttBroker('127.0.0.1', {port}, 'room', 'camera')\ntime.sleep(60)"
    )
    with broker(tmp_path, port), listener(port) as heard:
        camera = subprocess.Popen([sys.executable, "-c", script])
        until(lambda: statuses(heard) == [b"online"])
        camera.send_signal(signal.SIGKILL)
        camera.wait()
        until(lambda: statuses(heard) == [b"online", b"offline"])


@needs_broker
def test_a_broker_that_wants_a_password_says_so(log, tmp_path):
    port = free_port()
    with broker(tmp_path, port, "allow_anonymous false"):
        sink = MqttBroker("127.0.0.1", port, "room", "camera")
        delivery = Delivery(log, sink, tmp_path)
        log.append("estimate", BODY)
        until(lambda: "refuses us" in sink._trouble)
        assert delivery.pump() == 0
        assert "not authorized" in delivery.trouble
        sink.close()


@needs_broker
def test_over_tls_only_the_right_broker_is_spoken_to(log, tmp_path):
    port = free_port()
    make_certificate(tmp_path / "broker")
    make_certificate(tmp_path / "other")
    settings = f"allow_anonymous true\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key"
    log.append("estimate", BODY)
    with broker(tmp_path, port, settings):
        stranger = MqttBroker("127.0.0.1", port, "room", "a", tls=client_context(tmp_path / "other.pem"))
        trusted = MqttBroker("127.0.0.1", port, "room", "b", tls=client_context(tmp_path / "broker.pem"))
        until(trusted._client.is_connected)
        assert Delivery(log, trusted, tmp_path).pump() == 1
        assert not stranger._client.is_connected()
        with pytest.raises(OSError, match="mqtt broker"):
            stranger.deliver({"hash": "a" * 64, "kind": "estimate"})
        stranger.close()
        trusted.close()


def make_certificate(path):
    """A certificate for loopback that signs itself, ``path.pem`` and ``path.key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(
        now + datetime.timedelta(9)
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, False).sign(key, hashes.SHA256())
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.with_suffix(".key").write_bytes(private)


def test_tls_files_that_do_not_work_are_named(tmp_path):
    make_certificate(tmp_path / "a")
    make_certificate(tmp_path / "b")
    (tmp_path / "text.pem").write_text("not a certificate")
    with pytest.raises(Refusal, match=r"text\.pem holds no certificates"):
        client_context(tmp_path / "text.pem")
    with pytest.raises(Refusal, match=r"nothing\.pem"):
        client_context(tmp_path / "nothing.pem")
    with pytest.raises(Refusal, match=r"a\.pem and .*b\.key cannot be used"):
        server_context(tmp_path / "a.pem", tmp_path / "b.key")
    with pytest.raises(Refusal, match=r"there is no .*gone\.key"):
        server_context(tmp_path / "a.pem", tmp_path / "gone.key")
    server_context(tmp_path / "a.pem", tmp_path / "a.key")


def test_a_refusal_that_was_mended_is_not_told_again():
    sink = MqttBroker("127.0.0.1", free_port(), "clinic", "camera")
    try:
        client = SimpleNamespace(publish=lambda *about, **how: None)
        sink._connected(client, None, None, SimpleNamespace(is_failure=True), None)
        sink._disconnected(client, None, None, None, None)
        assert "refuses us" in sink._trouble
        sink._connected(client, None, None, SimpleNamespace(is_failure=False), None)
        sink._disconnected(client, None, None, None, None)
        assert sink._trouble == "the connection was lost"
    finally:
        sink.close()
