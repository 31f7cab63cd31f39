"""Delivery to an MQTT 5 broker, with quality of service 1 and a last will."""

from __future__ import annotations

import json
import ssl
from typing import Any

from opticaldr.device.chain import Entry
from opticaldr.device.delivery import Undeliverable

_TIMEOUT = 10.0  # seconds
_KEEP_ALIVE = 30  # seconds
_LONGEST_AWAY = 60  # seconds between attempts to connect
_REFUSED_FOR_GOOD = frozenset({0x90, 0x95, 0x99})
"""Topic name invalid, packet too large, payload format invalid (MQTT 5, 3.4.2.1)."""
_FAILURE = 0x80


class MqttBroker:
    """A sink; connects in the background and stays connected.

    Each message is one entry in JSON, of content type ``application/json``, under its hash as the user property
    ``key``: whoever takes the same key twice has seen a repeat. ``<topic>/status`` is retained.

    Args:
        host, port: of the broker.
        topic: what all topics begin with.
        identity: client identifier; the broker lets go of an older connection of the same name.
        tls: whom to trust; None for no TLS.
        username, password: None for none.
    """

    name = "mqtt"

    def __init__(
        self,
        host: str,
        port: int,
        topic: str,
        identity: str,
        *,
        tls: ssl.SSLContext | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self._place, self._topic = f"mqtt broker {host}:{port}", topic
        self._trouble = "not connected yet"
        self._reasons: dict[int, int] = {}
        self._unanswered: tuple[str, Any] | None = None
        self._client = paho.Client(CallbackAPIVersion.VERSION2, identity, protocol=paho.MQTTv5)
        self._client.on_connect, self._client.on_disconnect = self._connected, self._disconnected
        self._client.on_connect_fail = self._not_reached
        self._client.on_publish = self._acknowledged
        self._client.reconnect_delay_set(1, _LONGEST_AWAY)
        self._client.will_set(f"{topic}/status", b"offline", qos=1, retain=True)
        self._plain = tls is None
        if tls is not None:
            self._client.tls_set_context(tls)
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.connect_async(host, port, _KEEP_ALIVE)
        self._client.loop_start()

    def deliver(self, entry: Entry) -> None:
        """Publish one entry and wait until the broker has it."""
        if not self._client.is_connected():
            raise OSError(f"{self._place}: {self._trouble}")
        message = self._publish(entry)
        try:
            message.wait_for_publish(_TIMEOUT)
            answered = message.is_published()
        except RuntimeError as fault:
            self._unanswered = None
            raise OSError(f"{self._place}: {fault}") from None
        if not answered:
            raise OSError(f"{self._place} did not answer within {_TIMEOUT:.0f} s")
        self._unanswered = None
        code = self._reasons.pop(message.mid, 0)
        if code in _REFUSED_FOR_GOOD:
            raise Undeliverable(f"{self._place} refuses it for good (reason {code:#04x})")
        if code >= _FAILURE:
            raise OSError(f"{self._place} does not take it now (reason {code:#04x})")

    def close(self) -> None:
        """Say goodbye, so that the last will is not needed."""
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/status", b"offline", qos=1, retain=True).wait_for_publish(
                1.0
            )
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, entry: Entry) -> Any:
        """The message on its way; an entry that still waits for its answer is not published again, because the
        client repeats it by itself."""
        if self._unanswered is not None and self._unanswered[0] == entry["hash"]:
            return self._unanswered[1]
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        about = Properties(PacketTypes.PUBLISH)
        about.ContentType = "application/json"
        about.PayloadFormatIndicator = 1
        about.UserProperty = ("key", entry["hash"])
        shown = {name: entry[name] for name in ("index", "hash", "time", "kind", "body")}
        payload = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()
        sent = self._client.publish(f"{self._topic}/{entry['kind']}", payload, qos=1, properties=about)
        self._unanswered = entry["hash"], sent
        return sent

    def _acknowledged(self, client: Any, data: Any, number: int, code: Any, properties: Any) -> None:
        self._reasons[number] = code.value

    def _connected(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._trouble = f"it refuses us ({str(code).lower()})"
            return
        self._trouble = ""
        client.publish(f"{self._topic}/status", b"online", qos=1, retain=True)

    def _disconnected(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if not self._trouble.startswith("it refuses us"):
            self._trouble = "the connection was lost"

    def _not_reached(self, client: Any, data: Any) -> None:
        self._trouble = "nobody answers" if self._plain else "nobody answers over TLS"
