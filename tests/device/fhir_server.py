"""A FHIR R4B server on loopback: fhirstarter, which validates resources, with the transaction that it lacks."""

import json
import socket
import threading
import uuid
from contextlib import contextmanager
from urllib.parse import parse_qs

import uvicorn
from fastapi import Request, Response
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.provenance import Provenance
from fhirstarter import FHIRProvider, FHIRStarter
from fhirstarter.exceptions import FHIRResourceNotFoundError

TYPES = {"Device": Device, "Observation": Observation, "Provenance": Provenance}


class Server:
    """What the server holds, by type and id.

    ``fails`` is a status that transactions are answered with; ``forgets`` has it work but never answer well.
    """

    def __init__(self):
        self.stored, self.found = {kind: {} for kind in TYPES}, {}
        self.fails = None
        self.forgets = False
        self.transactions = 0
        self.tokens = set()

    def all(self, kind):
        return list(self.stored[kind].values())

    def transact(self, body):
        bundle = Bundle.model_validate_json(body)
        assert bundle.type == "transaction"
        entries = json.loads(body)["entry"]
        kept, places = [], {}
        for entry in entries:
            resource, request = entry["resource"], entry["request"]
            kind = resource["resourceType"]
            assert request["method"] == "POST"
            assert request["url"] == kind
            found = self.search(kind, request["ifNoneExist"])
            number = found[0]["id"] if found else str(uuid.uuid4())
            places[entry["fullUrl"]] = f"{kind}/{number}"
            kept.append((kind, number, None if found else resource))
        for kind, number, resource in kept:
            if resource is not None:
                text = json.dumps(resource)
                for url, place in places.items():
                    text = text.replace(url, place)
                changed = json.loads(text) | {"id": number}
                changed["meta"] = changed.get("meta", {}) | {"versionId": "1"}
                TYPES[kind].model_validate(changed)
                self.keep(kind, changed)
        answers = [
            {"response": {"status": "201 Created" if new else "200 OK", "location": f"{kind}/{number}"}}
            for kind, number, new in kept
        ]
        return 200, {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    def search(self, kind, query):
        ((name, (wanted,)),) = parse_qs(query).items()
        assert name in ("identifier", "_tag")
        system, _, value = wanted.partition("|")
        return self.found.get((kind, name, system, value), [])

    def keep(self, kind, resource):
        self.stored[kind][resource["id"]] = resource
        for identifier in resource.get("identifier", []):
            self.found[kind, "identifier", identifier["system"], identifier["value"]] = [resource]
        for tag in resource["meta"].get("tag", []):
            self.found[kind, "_tag", tag["system"], tag["code"]] = [resource]


def application(server):
    app, provider = FHIRStarter(), FHIRProvider()
    for kind, model in TYPES.items():

        def read(context, id_, kind=kind, model=model):
            if id_ not in server.stored[kind]:
                raise FHIRResourceNotFoundError
            return model.model_validate(server.stored[kind][id_])

        async def handler(context, id_: str, read=read):
            return read(context, id_)

        handler.__annotations__ = {"id_": str, "return": model}
        provider.read(model)(handler)
    app.add_providers(provider)

    @app.post("/")
    async def transaction(request: Request):
        server.transactions += 1
        server.tokens.add(request.headers.get("authorization"))
        if server.fails:
            outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "told to fail"}]}
            return Response(json.dumps(outcome), server.fails, media_type="application/fhir+json")
        status, answer = server.transact(await request.body())
        if server.forgets:
            return Response("", 503)
        return Response(json.dumps(answer), status, media_type="application/fhir+json")

    return app


@contextmanager
def serving(app, port=0, **options):
    """Serve an ASGI application on loopback; yields its URL."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, **options)
        runner = uvicorn.Server(config)
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            runner.should_exit = True
            thread.join()
