"""FHIR: what is sent is valid, says what it is, comes once, and is signed."""

import base64
import json

import pytest
from device_entries import BODY, FLAGS, entry_of

from opticaldr.artefacts import verify
from opticaldr.device.audit import AuditLog
from opticaldr.device.delivery import LONGEST_PAUSE, Delivery, Undeliverable, rewind
from opticaldr.device.fhir import FhirServer, broken_rules, signed_content, transaction
from opticaldr.errors import Refusal

R4B = pytest.importorskip("fhir.resources.R4B", reason="fhir.resources is not installed")
pytest.importorskip("fhirstarter", reason="fhirstarter is not installed")
from fhir_server import Server, application, serving  # noqa: E402

BUNDLE = "b" * 64
SUBJECT = {"system": "https://clinic.example/pseudonyms", "value": "P-0042"}


def resources(entry, key):
    sent = transaction(entry, BUNDLE, SUBJECT, key)
    R4B.get_fhir_model_class("Bundle").model_validate_json(json.dumps(sent))
    return {part["resource"]["resourceType"]: part["resource"] for part in sent["entry"]}


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def url(server):
    with serving(application(server)) as url:
        yield url


@pytest.fixture
def log(tmp_path, key):
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        yield log


@pytest.mark.proves("VOICE-3")
def test_an_estimate_says_what_it_is_and_what_it_is_not(key):
    observation = resources(entry_of(), key)["Observation"]
    assert observation["status"] == "preliminary"
    assert observation["valueQuantity"]["value"] == BODY["estimate"]
    assert observation["component"][0]["valueQuantity"]["value"] == BODY["sigma"]
    assert "dataAbsentReason" not in observation
    assert [label["code"] for label in observation["meta"]["security"]] == ["AIAST"]
    assert observation["subject"] == {"identifier": SUBJECT}
    assert "89209-1" not in json.dumps(observation)
    assert "loinc" not in json.dumps(observation).lower()
    assert BUNDLE in observation["method"]["text"]


@pytest.mark.parametrize("flag", sorted(set(FLAGS) - {"simulated", "unprotected"}))
def test_a_quality_failure_has_a_reason_and_no_value(key, flag):
    observation = resources(entry_of(quality=[flag]), key)["Observation"]
    assert not [name for name in observation if name.startswith("value")]
    assert observation["dataAbsentReason"]["text"] == flag
    assert str(BODY["estimate"]) not in json.dumps(observation)
    assert broken_rules(observation) == []


def test_an_event_is_an_absence_of_data(key):
    event = entry_of("event", event="optics not in place", quality=[])
    observation = resources(event, key)["Observation"]
    assert observation["dataAbsentReason"]["text"] == "optics not in place"
    assert "valueQuantity" not in observation


@pytest.mark.proves("VOICE-3")
def test_what_was_simulated_is_labelled_as_test_data(key):
    observation = resources(entry_of(quality=["simulated"]), key)["Observation"]
    assert [label["code"] for label in observation["meta"]["security"]] == ["AIAST", "HTEST"]
    assert observation["valueQuantity"]["value"] == BODY["estimate"]


def test_broken_invariants_are_found_where_a_schema_finds_none(key):
    observation = resources(entry_of(), key)["Observation"]
    observation["dataAbsentReason"] = {"text": "both"}
    R4B.get_fhir_model_class("Observation").model_validate(observation)
    assert broken_rules(observation) == ["obs-6"]
    del observation["dataAbsentReason"]
    observation["component"][0]["dataAbsentReason"] = {"text": "both"}
    assert broken_rules(observation) == ["obs-6"]
    del observation["component"][0]["dataAbsentReason"]
    observation["component"][0]["code"] = observation["code"]
    assert broken_rules(observation) == ["obs-7"]


def test_a_server_takes_it_once_however_often_it_comes(server, url, log, key, tmp_path):
    sink = FhirServer(url, SUBJECT, BUNDLE, key, token="secret")
    assert sink.check() == ""
    for _ in range(3):
        log.append("estimate", BODY)
    Delivery(log, sink, tmp_path).pump()
    rewind(log, "fhir", tmp_path, index=0)
    again = Delivery(log, sink, tmp_path)
    assert again.pump() == 3
    assert server.transactions == 6
    assert {kind: len(server.all(kind)) for kind in server.stored} == {
        "Device": 1,
        "Observation": 3,
        "Provenance": 3,
    }
    assert server.tokens == {"Bearer secret"}
    sink.close()


def test_an_answer_that_was_lost_costs_a_repeat_and_nothing_else(server, url, log, key, tmp_path):
    clock = [0.0]
    sink = FhirServer(url, SUBJECT, BUNDLE, key)
    delivery = Delivery(log, sink, tmp_path, clock=lambda: clock[0])
    log.append("estimate", BODY)
    server.forgets = True
    assert delivery.pump() == 0
    assert "503" in delivery.trouble
    server.forgets, clock[0] = False, LONGEST_PAUSE
    assert delivery.pump() == 1
    assert len(server.all("Observation")) == 1
    sink.close()


def test_the_stored_observation_is_under_the_devices_signature(server, url, log, key):
    sink = FhirServer(url, SUBJECT, BUNDLE, key)
    sink.deliver(log.append("estimate", BODY))
    sink.close()
    (observation,), (provenance,), (device,) = map(server.all, ("Observation", "Provenance", "Device"))
    assert observation["device"]["reference"] == f"Device/{device['id']}"
    assert provenance["target"] == [{"reference": f"Observation/{observation['id']}"}]
    jws = base64.b64decode(provenance["signature"][0]["data"])
    signed, _, signature = jws.rpartition(b".")
    content = signed.partition(b".")[2]
    assert verify(key.public_key(), signed, base64.urlsafe_b64decode(signature + b"=="))
    assert base64.urlsafe_b64decode(content + b"==") == signed_content(observation)
    observation["valueQuantity"]["value"] += 1
    assert base64.urlsafe_b64decode(content + b"==") != signed_content(observation)


@pytest.mark.parametrize(
    ("status", "for_good"),
    [(400, True), (422, True), (401, False), (404, False), (429, False), (500, False), (503, False)],
)
def test_which_answers_mean_never_and_which_not_now(server, url, log, key, status, for_good):
    server.fails = status
    sink = FhirServer(url, SUBJECT, BUNDLE, key)
    with pytest.raises(Undeliverable if for_good else OSError, match=rf"{status}.*told to fail"):
        sink.deliver(log.append("estimate", BODY))
    sink.close()


def test_a_wrong_address_is_refused_with_what_answered(url, key):
    def check(address):
        return FhirServer(address, SUBJECT, BUNDLE, key).check()

    with pytest.raises(Refusal, match=r"answered 404 with .*not a CapabilityStatement; set url"):
        check(f"{url}/nothing/here")
    assert check("http://127.0.0.1:9").endswith("nobody answers")  # nobody there now: may come back


def test_another_release_is_refused(key):
    async def fhir_r5(scope, receive, send):
        body = b'{"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"}'
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    with serving(fhir_r5, lifespan="off") as url, pytest.raises(Refusal, match=r"speaks FHIR 5\.0\.0"):
        FhirServer(url, SUBJECT, BUNDLE, key).check()
