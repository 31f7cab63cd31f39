"""The clinic's side of a run: the sinks and the page that its settings name, checked before eye starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.device.attend import Shutter, attend
from opticaldr.device.audit import public_hex
from opticaldr.device.delivery import Sink
from opticaldr.device.orders import Orders
from opticaldr.device.settings import Fhir, Mqtt, Page, Settings, read_secret
from opticaldr.device.status import Status
from opticaldr.device.tls import client_context
from opticaldr.device.voice import Session


def open_sinks(settings: Settings, bundle: str, key: Ed25519PrivateKey) -> list[Sink]:
    """The sinks beyond this machine.

    Args:
        settings: which, and how to reach them.
        bundle: id of the bundle that estimates.
        key: of the device.

    Raises:
        Refusal: a file cannot be used, or what answers is not what it should be. Nobody answering is no
            reason to refuse: what cannot be delivered now waits.
    """
    sinks: list[Sink] = []
    if settings.fhir is not None:
        sinks.append(_fhir(settings.fhir, bundle, key))
    if settings.mqtt is not None:
        sinks.append(_mqtt(settings.mqtt, key))
    return sinks


def attend_page(
    page: Page,
    status: Status,
    orders: Orders,
    *,
    about: Mapping[str, Any],
    seconds: float | None,
    on_entry: Callable[[Mapping[str, Any]], None],
) -> Session:
    """A run with the local page, where the shutter is opened and closed (see `opticaldr.device.attend`).

    Raises:
        Refusal: the page cannot be served.
    """
    from opticaldr.device.page.server import PageServer

    shutter = Shutter(wanted=not page.consent)

    def tell(entry: Mapping[str, Any]) -> None:
        status.take(dict(entry))
        on_entry(entry)

    with PageServer(page, status, shutter) as server:
        sys.stderr.write(f"opticaldr: the page is at {server.url}\n")
        return attend(orders, status.log, shutter, status, about=about, seconds=seconds, on_entry=tell)


def _fhir(fhir: Fhir, bundle: str, key: Ed25519PrivateKey) -> Sink:
    from opticaldr.device.fhir import FhirServer

    server = FhirServer(
        fhir.url,
        fhir.subject.model_dump(),
        bundle,
        key,
        token=read_secret(fhir.token_file) if fhir.token_file else "",
        tls=client_context(fhir.ca_file) if fhir.url.startswith("https") else None,
    )
    absent = server.check()
    if absent:
        sys.stderr.write(f"opticaldr: {absent}; what it should get waits on the disk\n")
    return server


def _mqtt(mqtt: Mqtt, key: Ed25519PrivateKey) -> Sink:
    from opticaldr.device.mqtt import MqttBroker

    return MqttBroker(
        mqtt.host,
        mqtt.port,
        mqtt.topic,
        f"opticaldr-{public_hex(key.public_key())[:12]}",
        tls=client_context(mqtt.ca_file, mqtt.certificate_file, mqtt.key_file) if mqtt.tls else None,
        username=mqtt.username,
        password=read_secret(mqtt.password_file) if mqtt.password_file else None,
    )
