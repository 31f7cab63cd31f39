"""The local page: what it tells, whom it lets in, and what its button does; over real sockets and TLS."""

import http.client
import json
import re
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from urllib.parse import urlencode

import pytest
from device_bundle import SIDE, make_bundle
from device_entries import BODY
from test_mqtt import free_port, make_certificate, until

from opticaldr.artefacts import load_public_key
from opticaldr.device.attend import Shutter
from opticaldr.device.audit import AuditLog, read_log, verify_log
from opticaldr.device.confinement import Protection
from opticaldr.device.delivery import Delivery
from opticaldr.device.hearing import name_of
from opticaldr.device.landlock import interface_version
from opticaldr.device.ndjson import NdjsonFile
from opticaldr.device.settings import Page
from opticaldr.device.status import Facts, Status
from opticaldr.errors import Refusal

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from opticaldr.device.page.login import ATTEMPTS, PER_ATTEMPT, SESSION, Login, TooMany, hash_password
from opticaldr.device.page.server import PageServer

PASSWORD = "correct horse battery"
needs_landlock = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")


@pytest.fixture
def status(tmp_path, key):
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        file = Delivery(log, NdjsonFile(tmp_path / "estimates.ndjson"), tmp_path)
        calibrated = datetime.now(UTC) - timedelta(days=12, hours=1)
        yield Status(Facts("b" * 64, calibrated, 60.0, "Research use only."), log, [file])


def logged(status, kind, **body):
    status.take(status.log.append(kind, body))


def estimating(status):
    logged(status, "started")
    logged(status, "hello", protections=[name_of(p) for p in Protection])
    status.take(status.log.append("estimate", BODY))


@contextmanager
def serving(status, **settings):
    shutter = Shutter(wanted=False)
    page = Page(port=free_port(), **settings)
    with PageServer(page, status, shutter):
        yield page.port, shutter


def ask(port, path, method="GET", body=None, tls=None, **headers):
    """Status, headers and body of the answer."""
    if tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=tls)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def press(port, opened, **headers):
    about = {"Origin": f"http://127.0.0.1:{port}", "Content_Type": "application/json"} | headers
    return ask(port, "/shutter", "POST", json.dumps({"opened": opened}), **about)[0]


@pytest.mark.proves("PAGE-1")
def test_it_tells_the_state_and_never_an_image(status):
    estimating(status)
    with serving(status) as (port, _):
        code, headers, page = ask(port, "/")
        assert code == 200
        assert "img-src 'none'" in headers["Content-Security-Policy"]
        assert "script-src 'self';" in headers["Content-Security-Policy"]
        told = json.loads(ask(port, "/status")[2])
    assert told["estimate"]["estimate"] == BODY["estimate"]
    assert told["shutter"] == "open"
    assert all(protection["holds"] for protection in told["protections"])
    assert told["calibration_age_days"] == pytest.approx(12.04, abs=0.01)
    assert told["audit"] == {"entries": status.log.entries, "head": status.log.head}
    assert told["deliveries"][0]["waiting"] == 1
    for name in ("page.html", "login.html", "page.css", "page.js"):
        text = (files("opticaldr.device.page") / name).read_text()
        assert not re.search(r"<img|<video|<canvas|<iframe|url\(|https?://(?!www\.w3\.org/2000/svg)", text), (
            name
        )
    assert " style=" not in page


def test_events_tell_every_change(status):
    with serving(status) as (port, shutter):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")

        def event():
            line = answer.readline()
            assert answer.readline() == b"\n"
            return json.loads(line.removeprefix(b"data: "))

        assert event()["estimate"] is None
        estimating(status)
        while (told := event())["estimate"] is None:
            pass
        assert told["estimate"]["estimate"] == BODY["estimate"]
        shutter.ask(opened=True)
        while not event()["wanted"]:
            pass
        connection.close()


def test_metrics_are_prometheus_and_hold_no_estimate(status):
    estimating(status)
    with serving(status) as (port, _):
        code, headers, text = ask(port, "/metrics")
    assert code == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'^opticaldr_[a-z_]+(\{sink="[a-z]+"\})? -?[0-9.e+]+$')
    lines = text.splitlines()
    assert all(sample.match(line) or line.startswith("# ") for line in lines)
    assert "opticaldr_estimates_total 1" in lines
    assert "opticaldr_shutter_open 1" in lines
    assert 'opticaldr_delivery_waiting{sink="ndjson"} 1' in lines
    described = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert described == {re.match("[a-z_]+", line)[0] for line in lines if not line.startswith("#")}
    assert str(BODY["estimate"]) not in text


@pytest.mark.proves("PAGE-1")
def test_only_its_own_page_may_press_the_button(status):
    with serving(status) as (port, shutter):
        assert press(port, True, Origin="http://evil.example") == 403
        assert press(port, True, Origin="null") == 403
        assert ask(port, "/shutter", "POST", '{"opened": true}', Content_Type="application/json")[0] == 403
        evil = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
        assert press(port, True, **evil) == 421
        assert ask(port, "/status", Host="evil.example")[0] == 421
        assert not shutter.wanted
        assert press(port, "yes") == 422
        assert press(port, True) == 200
        assert shutter.wanted


@pytest.fixture
def secured(tmp_path):
    """Settings of a page with TLS and a password, and a client that trusts it."""
    make_certificate(tmp_path / "page")
    (tmp_path / "password").write_text(hash_password(PASSWORD))
    (tmp_path / "password").chmod(0o600)
    settings = {
        "certificate_file": tmp_path / "page.pem",
        "key_file": tmp_path / "page.key",
        "password_file": tmp_path / "password",
    }
    return settings, ssl.create_default_context(cafile=str(tmp_path / "page.pem"))


def enter(port, password, tls, **headers):
    about = {"Origin": f"https://127.0.0.1:{port}", "Content_Type": "application/x-www-form-urlencoded"}
    return ask(port, "/login", "POST", urlencode({"password": password}), tls, **about | headers)


@pytest.mark.proves("PAGE-1")
def test_beyond_this_machine_everybody_logs_in(status, secured):
    settings, tls = secured
    estimating(status)
    with serving(status, host="0.0.0.0", **settings) as (port, shutter):
        assert ask(port, "/", tls=tls)[0] == 303
        assert ask(port, "/login", tls=tls)[0] == 200
        for path in ("/status", "/events", "/page.js"):
            assert ask(port, path, tls=tls)[0] == 401
        assert enter(port, "wrong password", tls)[0] == 401
        assert enter(port, PASSWORD, tls, Origin="https://evil.example")[0] == 403
        code, headers, _ = enter(port, PASSWORD, tls)
        assert code == 303
        cookie = headers["Set-Cookie"]
        for part in ("__Host-", "Secure", "HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie
        mine = {"Cookie": cookie.partition(";")[0]}
        code, headers, text = ask(port, "/status", tls=tls, **mine)
        assert json.loads(text)["estimate"]["estimate"] == BODY["estimate"]
        assert "max-age" in headers["Strict-Transport-Security"]
        about = {"Origin": f"https://127.0.0.1:{port}", "Content_Type": "application/json"}
        assert ask(port, "/shutter", "POST", '{"opened": true}', tls, **about)[0] == 401
        assert ask(port, "/shutter", "POST", '{"opened": true}', tls, **about, **mine)[0] == 200
        assert shutter.wanted
        assert ask(port, "/logout", "POST", "", tls, Origin=about["Origin"], **mine)[0] == 303
        assert ask(port, "/status", tls=tls, **mine)[0] == 401
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, "/login")  # no TLS, no answer


@pytest.mark.proves("PAGE-1")
def test_guessing_is_slowed_down(status, secured):
    settings, tls = secured
    with serving(status, **settings) as (port, _):
        codes = [enter(port, f"guess {n}", tls)[0] for n in range(ATTEMPTS + 1)]
        assert codes == [401] * ATTEMPTS + [429]
        code, headers, _ = enter(port, PASSWORD, tls)  # not even the right one gets through now
        assert code == 429
        assert 0 < int(headers["Retry-After"]) <= PER_ATTEMPT


def test_logins_end_and_guesses_come_back_slowly():
    now = [0.0]
    login = Login(hash_password(PASSWORD), clock=lambda: now[0])
    token = login.attempt("here", PASSWORD)
    assert login.knows(token)
    assert not login.knows(token + "x")
    assert not login.knows("")
    now[0] = SESSION + 1
    assert not login.knows(token)
    for _ in range(ATTEMPTS):
        assert login.attempt("here", "wrong") is None
    with pytest.raises(TooMany):
        login.attempt("here", PASSWORD)
    assert login.attempt("elsewhere", PASSWORD)
    now[0] += PER_ATTEMPT
    assert login.attempt("here", PASSWORD)
    with pytest.raises(Refusal, match="holds no password"):
        Login("secret")
    with pytest.raises(Refusal, match="too short"):
        hash_password("short")
    assert hash_password(PASSWORD) != hash_password(PASSWORD)


def test_what_is_refused_at_start(status, tmp_path):
    with serving(status) as (port, _):
        taken = PageServer(Page(port=port), status, Shutter(wanted=False))
        with pytest.raises(
            Refusal, match=rf"127\.0\.0\.1:{port} .address already in use.; stop what uses it"
        ):
            taken.__enter__()
    with pytest.raises(Refusal, match=r"cannot listen on 203\.0\.113\.1"):  # an address of nobody here
        tls = {"certificate_file": tmp_path / "a.pem", "key_file": tmp_path / "a.key"}
        make_certificate(tmp_path / "a")
        (tmp_path / "password").write_text(hash_password(PASSWORD))
        (tmp_path / "password").chmod(0o600)
        page = Page(host="203.0.113.1", password_file=tmp_path / "password", **tls)
        PageServer(page, status, Shutter(wanted=False)).__enter__()
    make_certificate(tmp_path / "b")
    mixed = Page(certificate_file=tmp_path / "a.pem", key_file=tmp_path / "b.key")
    with pytest.raises(Refusal, match="cannot be used"):
        PageServer(mixed, status, Shutter(wanted=False))


LOSES_AN_ESTIMATE = """
from opticaldr.device import audit
write, failures = audit.write_line, iter([OSError(28, "No space left")])
def write_once_not(stream, line):
    failure = next(failures, None) if b'"kind":"estimate"' in line else None
    if failure:
        raise failure
    write(stream, line)
audit.write_line = write_once_not
"""


def start(bundle, tmp_path, settings, before="", **options):
    (tmp_path / "clinic.toml").write_text(settings)
    script = (
        f"import json; from pathlib import Path; from opticaldr.device.run import run\n{before}\n"
        f"print(json.dumps(run(Path({str(bundle)!r}), out=Path({str(tmp_path / 'out')!r}), interval=1,"
        f" settings=Path({str(tmp_path / 'clinic.toml')!r}), **{options!r})))"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def state_of(port):
    try:
        return json.loads(ask(port, "/status")[2])
    except OSError:
        return {"shutter": None, "estimate": None}


@needs_landlock
def test_the_button_opens_and_closes_the_shutter_of_a_real_run(bundle, tmp_path):
    port, log = free_port(), tmp_path / "out" / "audit.ndjson"
    voice = start(bundle, tmp_path, f"[page]\nport = {port}\n")
    until(lambda: state_of(port)["shutter"] == "closed")
    time.sleep(0.3)
    assert [entry["kind"] for entry in read_log(log)] == ["opened"]  # nobody has agreed: nothing looks
    for _ in range(2):  # the shutter is opened twice
        assert press(port, True) == 200
        until(lambda: state_of(port)["estimate"])
        assert press(port, False) == 200
        until(lambda: state_of(port)["shutter"] == "closed")
        assert state_of(port)["estimate"] is None
    voice.terminate()
    summary = json.loads(voice.communicate(timeout=30)[0])
    assert summary["passed"]
    estimates = [entry["body"] for entry in read_log(log) if entry["kind"] == "estimate"]
    assert summary["estimates"] == estimates
    assert summary["estimated"] == len(estimates) >= 2
    kinds = [entry["kind"] for entry in read_log(log) if entry["kind"] != "estimate"]
    assert kinds == ["opened"] + 2 * ["started", "hello", "farewell", "ended"]
    verify_log(log, load_public_key(tmp_path / "out" / "device.key.pub"))


@needs_landlock
def test_a_run_in_which_nobody_opened_the_shutter_ends_well(bundle, tmp_path):
    port = free_port()
    voice = start(bundle, tmp_path, f"[page]\nport = {port}\n")
    until(lambda: state_of(port)["shutter"] == "closed")
    voice.terminate()
    summary = json.loads(voice.communicate(timeout=30)[0])
    assert summary["passed"]
    assert summary["interlock"] == "not asked"


@needs_landlock
def test_a_run_whose_eye_could_not_start_does_not_pass(tmp_path, key):
    mode = {"rows": SIDE, "columns": SIDE, "bayer": "BGGR", "bits": 10, "black_level": 60, "binning": 8}
    other = make_bundle(tmp_path / "other", key, camera=mode | {"white_level": 1023})
    port = free_port()
    voice = start(other, tmp_path, f"[page]\nport = {port}\nconsent = false\n")
    until(lambda: "another mode" in state_of(port).get("why_closed", ""))
    voice.terminate()
    summary = json.loads(voice.communicate(timeout=30)[0])
    assert not summary["passed"]
    assert "another mode" in summary["eye"]["not_started"]
    assert summary["interlock"] == "not asked"


@needs_landlock
def test_what_was_lost_in_one_opening_is_told_after_the_next(bundle, tmp_path):
    port, log = free_port(), tmp_path / "out" / "audit.ndjson"
    voice = start(bundle, tmp_path, f"[page]\nport = {port}\n", LOSES_AN_ESTIMATE)
    until(lambda: state_of(port)["shutter"] == "closed")
    for _ in range(2):
        press(port, True)
        until(lambda: state_of(port)["estimate"])
        press(port, False)
        until(lambda: state_of(port)["shutter"] == "closed")
    voice.terminate()
    summary = json.loads(voice.communicate(timeout=30)[0])
    assert not summary["passed"]
    assert summary["not_logged"] == 1
    ended = [entry["body"] for entry in read_log(log) if entry["kind"] == "ended"]
    assert [body["lost"] for body in ended] == [1, 0]
    assert summary["frames"] == sum(e["body"]["frames"] for e in read_log(log) if e["kind"] == "farewell")


@pytest.mark.proves("EYE-6")
@needs_landlock
def test_after_a_trip_only_a_deliberate_act_opens_it_again(bundle, tmp_path):
    port, log = free_port(), tmp_path / "out" / "audit.ndjson"
    voice = start(bundle, tmp_path, f"[page]\nport = {port}\nconsent = false\n", unmask_at=4)
    until(lambda: state_of(port)["shutter"] == "closed" and state_of(port)["why_closed"])
    assert state_of(port)["why_closed"] == "optics not in place"
    assert not state_of(port)["wanted"]
    time.sleep(0.5)
    assert sum(entry["kind"] == "started" for entry in read_log(log)) == 1
    press(port, True)
    until(lambda: sum(entry["kind"] == "started" for entry in read_log(log)) == 2)
    voice.terminate()
    voice.communicate(timeout=30)
