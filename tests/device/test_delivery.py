"""Delivery: everything in the log arrives, in order, and repeats do no harm."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from opticaldr.artefacts import create_key
from opticaldr.device.audit import AuditLog, read_log, verify_log
from opticaldr.device.delivery import FIRST_PAUSE, LONGEST_PAUSE, Delivery, NdjsonFile, Undeliverable


class Clinic:
    """A system at the clinic that can be away, and can refuse."""

    name = "clinic"

    def __init__(self):
        self.taken, self.away, self.refuses = [], False, set()

    def deliver(self, entry):
        if self.away:
            raise ConnectionError("nobody answers")
        if entry["index"] in self.refuses:
            raise Undeliverable("422")
        self.taken.append(entry["index"])


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def log(tmp_path, key):
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        yield log


def test_only_estimates_and_events_are_delivered_in_order(log, tmp_path):
    clinic = Clinic()
    delivery = Delivery(log.path, clinic, tmp_path, clock=Clock())
    for kind in ("started", "hello", "estimate", "bad record", "event", "estimate", "ended"):
        log.append(kind, {})
    assert delivery.pump() == 3
    assert clinic.taken == [3, 5, 6]
    assert delivery.pump() == 0


def test_what_waited_while_the_clinic_was_away_arrives_afterwards(log, tmp_path):
    clinic, clock = Clinic(), Clock()
    clinic.away = True
    delivery = Delivery(log.path, clinic, tmp_path, clock=clock)
    pauses = []
    for _ in range(20):
        log.append("estimate", {})
        before = clock.now
        while delivery._not_before <= clock.now:
            delivery.pump()
        clock.now = delivery._not_before
        pauses.append(clock.now - before)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert max(pauses) == LONGEST_PAUSE
    clinic.away = False
    assert delivery.pump() == 20
    assert clinic.taken == list(range(1, 21))


def test_a_refused_entry_is_set_aside_and_does_not_block_the_next(log, tmp_path):
    clinic = Clinic()
    clinic.refuses = {2}
    for _ in range(3):
        log.append("estimate", {})
    delivery = Delivery(log.path, clinic, tmp_path, clock=Clock())
    delivery.pump()
    assert clinic.taken == [1, 3]
    assert Delivery(log.path, clinic, tmp_path, clock=Clock()).cursor.dead == {"2": "422"}


def test_a_lost_cursor_means_repeats_and_the_file_ignores_them(log, tmp_path):
    out = tmp_path / "estimates.ndjson"
    for _ in range(4):
        log.append("estimate", {})
    Delivery(log.path, NdjsonFile(out), tmp_path, clock=Clock()).pump()
    (tmp_path / "ndjson.cursor.json").write_text("{torn")
    log.append("estimate", {})
    with out.open("ab") as stream:
        stream.write(b'{"index": 99, "torn')
    Delivery(log.path, NdjsonFile(out), tmp_path, clock=Clock()).pump()
    delivered = [json.loads(line) for line in out.read_text().splitlines()]
    assert [entry["index"] for entry in delivered] == [1, 2, 3, 4, 5]
    assert [entry["hash"] for entry in delivered] == [e["hash"] for e in read_log(log.path)][1:]


def test_a_cursor_of_another_log_starts_over(log, tmp_path):
    log.append("estimate", {})
    (tmp_path / "clinic.cursor.json").write_text('{"acknowledged": 17, "dead": {}}')
    clinic = Clinic()
    Delivery(log.path, clinic, tmp_path, clock=Clock()).pump()
    assert clinic.taken == [1]


LOG_AND_DELIVER = """
import sys, time; from pathlib import Path
from opticaldr.artefacts import load_key
from opticaldr.device.audit import AuditLog
from opticaldr.device.delivery import Delivery, NdjsonFile
folder = Path(sys.argv[1])
with AuditLog(folder / "audit.ndjson", load_key(folder / "key")) as log:
    delivery = Delivery(log.path, NdjsonFile(folder / "out.ndjson"), folder, clock=time.monotonic)
    delivery.pump()
    while "once" not in sys.argv:
        print(log.append("estimate", {"x": "y" * 400})["hash"], flush=True)
        delivery.pump()
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost_and_nothing_comes_twice(tmp_path, kills):
    """A child logs and delivers as fast as it can and says what is safe; it is killed again and again."""
    key = create_key(tmp_path / "key")
    command = [sys.executable, "-c", LOG_AND_DELIVER, tmp_path]
    rng = np.random.default_rng(1)
    acknowledged = []
    for _ in range(kills):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said = [child.stdout.readline()]
        time.sleep(float(rng.uniform(0, 0.03)))
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
        child.wait()
        acknowledged += [line.strip() for line in said if line.endswith("\n")]
    subprocess.run([*command, "once"], check=True)
    verify_log(tmp_path / "audit.ndjson", key.public_key())
    logged = [e["hash"] for e in read_log(tmp_path / "audit.ndjson") if e["kind"] == "estimate"]
    delivered = [json.loads(line)["hash"] for line in (tmp_path / "out.ndjson").read_bytes().splitlines()]
    assert len(acknowledged) >= kills
    assert set(acknowledged) <= set(logged)
    assert delivered == logged
