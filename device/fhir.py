"""Delivery to a FHIR R4 or R4B server: what an entry of the log is in FHIR, and the sink that sends it.

Each entry becomes one transaction of three resources: the Device, the Observation, and its Provenance with a
signature. All are created conditionally, so a transaction that comes twice changes nothing.

An estimate is not a questionnaire that somebody filled in. It therefore carries a code of this project's own
(not LOINC 89209-1, the BDI-II total), is ``preliminary``, and is labelled as asserted by an artificial
intelligence. Where the quality does not allow an estimate, there is no value but a ``dataAbsentReason``
(invariant obs-6: never both).
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opticaldr.artefacts import sign
from opticaldr.device.audit import public_hex
from opticaldr.device.chain import Entry
from opticaldr.device.delivery import Undeliverable
from opticaldr.errors import Refusal

Resource = dict[str, Any]

CODES = "urn:uuid:35ede2ff-6fe6-5cb8-bebc-225a4e04ef1a"
"""Code system of this project; a UUID needs no registry."""
DEVICES = "urn:uuid:78714ebf-71f5-5229-aefd-3341f661cfd0"
"""Identifier system: Ed25519 public keys of cameras, in hex."""
ENTRIES = "urn:uuid:afb00757-5480-5a38-a40e-11b894b145c4"
"""Identifier system: hashes of entries of audit logs."""
BUNDLES = "urn:uuid:6fadda00-b5c8-5422-a61a-e3640660c9d9"
"""Identifier system: ids of bundles."""
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_UCUM = "http://unitsofmeasure.org"
VERSIONS = ("4.0.", "4.3.")
CIRCUMSTANCES = frozenset({"simulated", "unprotected"})
"""Flags that say how an estimate came about. Every other flag means that it cannot be relied on."""
_TIMEOUT = 10.0  # seconds
_REFUSED_FOR_GOOD = frozenset({400, 412, 422})
_LONGEST_ANSWER = 1 << 20  # bytes


def transaction(entry: Entry, bundle: str, subject: Mapping[str, str], key: Ed25519PrivateKey) -> Resource:
    """The transaction Bundle that brings one entry to a server.

    Args:
        entry: an ``estimate`` or an ``event`` of the audit log.
        bundle: id of the bundle whose networks estimated.
        subject: ``system`` and ``value`` of the pseudonym of who sits before the camera.
        key: of the device; signs the Observation.
    """
    device = _device(public_hex(key.public_key()))
    observation = _observation(entry, bundle, subject, device)
    broken = broken_rules(observation)
    if broken:
        raise Undeliverable(f"it would break {', '.join(broken)}")
    provenance = _provenance(entry, bundle, observation, key)
    device_url, observation_url, provenance_url = (_url(entry, kind) for kind in ("d", "o", "p"))
    observation["device"]["reference"] = device_url
    provenance["target"] = [{"reference": observation_url}]
    provenance["agent"][0]["who"]["reference"] = device_url
    provenance["signature"][0]["who"]["reference"] = device_url
    conditions = (
        (device_url, device, {"identifier": f"{DEVICES}|{device['identifier'][0]['value']}"}),
        (observation_url, observation, {"identifier": f"{ENTRIES}|{entry['hash']}"}),
        (provenance_url, provenance, {"_tag": f"{ENTRIES}|{entry['hash']}"}),
    )
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": url,
                "resource": resource,
                "request": {
                    "method": "POST",
                    "url": resource["resourceType"],
                    "ifNoneExist": urlencode(condition),
                },
            }
            for url, resource, condition in conditions
        ],
    }


def broken_rules(observation: Resource) -> list[str]:
    """Invariants of Observation that are broken here, of those a JSON schema cannot know (R4, obs-6 and
    obs-7)."""

    def valued(part: Mapping[str, Any]) -> bool:
        return any(name.startswith("value") for name in part)

    parts = (observation, *observation.get("component", ()))
    twice = [part for part in observation.get("component", ()) if part["code"] == observation["code"]]
    broken = ["obs-6"] if any(valued(part) and "dataAbsentReason" in part for part in parts) else []
    return broken + (["obs-7"] if twice and valued(observation) else [])


def signed_content(observation: Resource) -> bytes:
    """What the signature covers: the Observation in canonical JSON (keys sorted, no space), without what a
    server changes: id, meta, text and the literal reference to the device, whose identifier stays."""
    kept = {name: value for name, value in observation.items() if name not in ("id", "meta", "text")}
    kept["device"] = {name: value for name, value in kept["device"].items() if name != "reference"}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


class FhirServer:
    """A sink.

    Args:
        url: base URL.
        subject: ``system`` and ``value`` of the pseudonym.
        bundle: id of the bundle that estimates.
        key: of the device.
        token: bearer token; empty for none.
        tls: whom to trust; needed for https.
    """

    name = "fhir"

    def __init__(
        self,
        url: str,
        subject: Mapping[str, str],
        bundle: str,
        key: Ed25519PrivateKey,
        *,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._subject, self._bundle, self._key = subject, bundle, key
        self._token, self._tls = token, tls
        self._connection: http.client.HTTPConnection | None = None

    def check(self) -> str:
        """Ask who is there. Returns why nobody can be asked now (it may be back later), or nothing.

        Raises:
            Refusal: something answers, but it is not a FHIR R4 server that would take our transactions.
        """
        try:
            status, kind, body = self._ask("GET", "/metadata")
        except OSError as absent:
            return str(absent)
        if status >= 500:
            return f"{self._url} answered {status}"
        remedy = "set url under [fhir] to the base URL of a FHIR R4 server"
        if status in (401, 403):
            raise Refusal(f"{self._url}/metadata answered {status} {_reason(status)}", "check token_file")
        statement = _json(body)
        if status != 200 or statement.get("resourceType") != "CapabilityStatement":
            what = statement.get("resourceType") or kind or "nothing"
            raise Refusal(
                f"{self._url}/metadata answered {status} with {what}, not a CapabilityStatement", remedy
            )
        version = str(statement.get("fhirVersion"))
        if not version.startswith(VERSIONS):
            raise Refusal(f"{self._url} speaks FHIR {version}, not R4 or R4B", remedy)
        return ""

    def deliver(self, entry: Entry) -> None:
        """Send one entry as a transaction and read what became of it."""
        sent = transaction(entry, self._bundle, self._subject, self._key)
        status, kind, body = self._ask("POST", "", json.dumps(sent, ensure_ascii=False).encode())
        answer = _json(body)
        if status in _REFUSED_FOR_GOOD:
            raise Undeliverable(f"{status} {_diagnostics(answer)}")
        if status != 200 or answer.get("type") != "transaction-response":
            raise OSError(f"{self._url} answered {status} {_diagnostics(answer) or kind}")
        results = [str(part.get("response", {}).get("status", "")) for part in answer.get("entry", [])]
        if len(results) != len(sent["entry"]) or not all(r.startswith(("200", "201")) for r in results):
            raise OSError(f"{self._url} took the transaction but answered {', '.join(results) or 'nothing'}")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer; redirections are not followed, because the token
        would go with them."""
        place = urlsplit(self._url + path)
        headers = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        fresh = self._connection is None
        connection = self._connection or self._connect(place.hostname or "", place.port)
        try:
            connection.request(method, place.path or "/", body, headers)
            answer = connection.getresponse()
            content = answer.read(_LONGEST_ANSWER)
        except (OSError, http.client.HTTPException) as failure:
            self.close()
            if not fresh:  # the server may have closed an idle connection
                return self._ask(method, path, body)
            raise OSError(f"{self._url}: {_in_words(failure)}") from None
        self._connection = connection
        return answer.status, (answer.getheader("Content-Type") or "").partition(";")[0], content

    def _connect(self, host: str, port: int | None) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=self._tls)


def _device(public_key: str) -> Resource:
    return {
        "resourceType": "Device",
        "identifier": [{"system": DEVICES, "value": public_key}],
        "status": "active",
        "manufacturer": "OpticalDR",
        "deviceName": [{"name": "OpticalDR camera", "type": "model-name"}],
        "note": [{"text": "Research use only: not a diagnosis, not triage."}],
    }


def _observation(entry: Entry, bundle: str, subject: Mapping[str, str], device: Resource) -> Resource:
    body = entry["body"]
    flags = [*body["quality"], *([body["event"]] if "event" in body else [])]
    failures = [flag for flag in flags if flag not in CIRCUMSTANCES]
    labels = [_coding(f"{_TERMINOLOGY}/v3-ObservationValue", "AIAST", "Artificial Intelligence asserted")]
    if "simulated" in flags:
        labels.append(_coding(f"{_TERMINOLOGY}/v3-ActReason", "HTEST", "test health data"))
    observation: Resource = {
        "resourceType": "Observation",
        "meta": {"security": labels},
        "identifier": [{"system": ENTRIES, "value": entry["hash"]}],
        "status": "preliminary",
        "code": {
            "coding": [_coding(CODES, "depression-severity-estimate", "Estimated BDI-II total (camera)")],
            "text": "BDI-II total as estimated by a camera; nobody answered a questionnaire",
        },
        "subject": {"identifier": dict(subject)},
        "effectiveDateTime": entry["time"],
        "issued": entry["time"],
        "device": {"type": "Device", "identifier": device["identifier"][0]},
        "method": {
            "coding": [_coding(CODES, "learned-optics", "Learned optics and network")],
            "text": f"OpticalDR bundle {bundle}",
        },
    }
    components = [_flag(flag) for flag in flags]
    if failures or body.get("estimate") is None:
        observation["dataAbsentReason"] = {
            "coding": [_coding(f"{_TERMINOLOGY}/data-absent-reason", "error", "Error")],
            "text": ", ".join(failures) or "no estimate",
        }
    else:
        observation["valueQuantity"] = _score(body["estimate"])
        deviation = _coding(CODES, "standard-deviation", "Standard deviation of the estimate")
        components.insert(0, {"code": {"coding": [deviation]}, "valueQuantity": _score(body["sigma"])})
    if components:
        observation["component"] = components
    return observation


def _flag(flag: str) -> Resource:
    code = _coding(CODES, "quality", "Quality flag")
    value = _coding(CODES, flag.replace(" ", "-"), flag)
    return {"code": {"coding": [code]}, "valueCodeableConcept": {"coding": [value]}}


def _score(value: float) -> Resource:
    return {"value": value, "unit": "score", "system": _UCUM, "code": "{score}"}


def _provenance(entry: Entry, bundle: str, observation: Resource, key: Ed25519PrivateKey) -> Resource:
    """Who says so: the device, with the bundle it ran, under a signature in JOSE's compact form (RFC 7515,
    RFC 8037)."""
    who = {"type": "Device", "identifier": observation["device"]["identifier"]}
    return {
        "resourceType": "Provenance",
        "meta": {"tag": [{"system": ENTRIES, "code": entry["hash"]}]},
        "recorded": entry["time"],
        "agent": [
            {
                "type": {
                    "coding": [_coding(f"{_TERMINOLOGY}/provenance-participant-type", "author", "Author")]
                },
                "who": dict(who),
            }
        ],
        "entity": [{"role": "source", "what": {"identifier": {"system": BUNDLES, "value": bundle}}}],
        "signature": [
            {
                "type": [
                    _coding("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.14", "Source Signature")
                ],
                "when": entry["time"],
                "who": dict(who),
                "targetFormat": "application/fhir+json",
                "sigFormat": "application/jose",
                "data": base64.b64encode(_jws(signed_content(observation), key)).decode(),
            }
        ],
    }


def _jws(content: bytes, key: Ed25519PrivateKey) -> bytes:
    header = json.dumps({"alg": "EdDSA", "kid": public_hex(key.public_key())}).encode()
    signed = b".".join(map(_base64url, (header, content)))
    return signed + b"." + _base64url(sign(key, signed))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def _url(entry: Entry, kind: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{entry['hash']}{kind}").urn


def _json(body: bytes) -> dict[str, Any]:
    """The object in a body; an empty one if there is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _diagnostics(outcome: Mapping[str, Any]) -> str:
    """What an OperationOutcome complains about."""
    issues = outcome.get("issue")
    if not isinstance(issues, list):
        return ""
    said = (
        issue.get("diagnostics") or (issue.get("details") or {}).get("text") or issue.get("code")
        for issue in issues
        if isinstance(issue, dict)
    )
    return "; ".join(str(words) for words in said if words)


def _in_words(failure: Exception) -> str:
    """Why a server was not reached, without the system's numbers."""
    if isinstance(failure, ConnectionRefusedError):
        return "nobody answers"
    if isinstance(failure, TimeoutError):
        return f"no answer within {_TIMEOUT:.0f} s"
    if isinstance(failure, socket.gaierror):
        return "nobody has that name"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({failure.verify_message})"
    return getattr(failure, "strerror", None) or str(failure) or type(failure).__name__


def _reason(status: int) -> str:
    return http.client.responses.get(status, "")
