"""Delivery: everything in the log arrives, in order, and repeats do no harm."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from opticaldr.artefacts import create_key
from opticaldr.device.audit import FULL, AuditLog, read_log, verify_log
from opticaldr.device.budget import RateLimit
from opticaldr.device.chain import part_paths
from opticaldr.device.delivery import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Couriers,
    Cursor,
    Delivery,
    Undeliverable,
    rewind,
)
from opticaldr.device.hearing import in_words
from opticaldr.device.ndjson import NdjsonFile
from opticaldr.device.records import Kind, Quality, Record
from opticaldr.errors import Refusal

LONGEST_ESTIMATE = in_words(
    Record(
        kind=Kind.ESTIMATE,
        session=b"\xff" * 16,
        sequence=2**32 - 1,
        moment=2**32 - 1,
        estimate=63.0,
        sigma=25.5,
        quality=Quality(sum(Quality)),
        margin=999,
        latency=6553.5e-3,
    )
)


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

    def close(self):
        self.away = True


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
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    for kind in ("started", "hello", "estimate", "bad record", "event", "estimate", "ended"):
        log.append(kind, {})
    assert delivery.pump() == 3
    assert clinic.taken == [3, 5, 6]
    assert delivery.pump() == 0


def test_what_waited_while_the_clinic_was_away_arrives_afterwards(log, tmp_path):
    clinic, clock = Clinic(), Clock()
    clinic.away = True
    delivery = Delivery(log, clinic, tmp_path, clock=clock, jitter=lambda: 0.0)
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
    assert delivery.waiting == 20
    assert delivery.trouble == "nobody answers"
    assert delivery.pump() == 20
    assert clinic.taken == list(range(1, 21))
    assert (delivery.waiting, delivery.trouble) == (0, "")


def test_chance_keeps_cameras_from_coming_back_in_step(log, tmp_path):
    clinic, clock, rng = Clinic(), Clock(), np.random.default_rng(0)
    clinic.away = True
    log.append("estimate", {})
    returns = []
    for _ in range(50):
        delivery = Delivery(log, clinic, tmp_path, clock=clock, jitter=rng.random)
        delivery.pump()
        returns.append(delivery._not_before - clock.now)
    assert min(returns) >= FIRST_PAUSE / 2
    assert max(returns) <= FIRST_PAUSE
    assert len(set(returns)) == 50


def test_a_sinks_own_fault_is_waited_out_like_an_absence(log, tmp_path):
    clinic, clock = Clinic(), Clock()
    clinic.deliver = lambda entry: 1 / 0
    log.append("estimate", {})
    delivery = Delivery(log, clinic, tmp_path, clock=clock)
    assert delivery.pump() == 0
    assert delivery.trouble == "division by zero"
    del clinic.deliver
    clock.now = LONGEST_PAUSE
    assert delivery.pump() == 1


def test_what_was_refused_comes_again_after_a_rewind(log, tmp_path):
    clinic = Clinic()
    clinic.refuses = {2, 4}
    for kind in ("estimate", "estimate", "hello", "estimate", "estimate"):
        log.append(kind, {})
    Delivery(log, clinic, tmp_path, clock=Clock()).pump()
    clinic.refuses = set()
    assert rewind(log, "clinic", tmp_path) == 3
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    assert delivery.waiting == 3
    delivery.pump()
    assert clinic.taken == [1, 5, 2, 4, 5]
    assert delivery.cursor.dead == {}
    with pytest.raises(Refusal, match="refused nothing"):
        rewind(log, "clinic", tmp_path)
    with pytest.raises(Refusal, match="choose one of: clinic"):
        rewind(log, "clinc", tmp_path)
    assert rewind(log, "clinic", tmp_path, index=5) == 1


def test_a_log_damaged_while_it_runs_stops_delivery_and_says_so(log, tmp_path):
    clinic = Clinic()
    for _ in range(3):
        log.append("estimate", {})
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    data = log.path.read_bytes()
    log.path.write_bytes(data[:-20].replace(b'"index":2', b'"index:2"') + data[-20:])
    delivery.pump()
    assert clinic.taken == [1]
    assert "damaged" in delivery.trouble


def test_a_full_disk_under_the_cursor_stops_nothing(log, tmp_path, monkeypatch):
    clinic = Clinic()
    log.append("estimate", {})
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    monkeypatch.setattr(Cursor, "write", lambda self: (_ for _ in ()).throw(OSError(28, "no space left")))
    assert delivery.pump() == 1
    assert "no space left" in delivery.progress()["trouble"]


def test_a_place_that_cannot_be_kept_is_said_once_and_is_no_trouble_of_the_sink(
    log, tmp_path, monkeypatch, capsys
):
    clinic = Clinic()
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    write = Cursor.write
    monkeypatch.setattr(Cursor, "write", lambda self: (_ for _ in ()).throw(OSError(30, "read-only")))
    for _ in range(3):
        log.append("estimate", {})
        delivery.pump()
    for _ in range(250):  # a backlog, within which the place is kept, too
        log.append("hello", {})
    delivery.pump()
    assert capsys.readouterr().err.splitlines() == [
        "opticaldr: clinic: its place cannot be kept: read-only; after a restart, some come again"
    ]
    assert clinic.taken == [1, 2, 3]
    assert delivery.cursor.acknowledged == log.size
    monkeypatch.setattr(Cursor, "write", write)
    log.append("estimate", {})
    delivery.pump()
    assert delivery.progress()["trouble"] == ""
    assert capsys.readouterr().err == ""


@pytest.mark.proves("VOICE-1")
@pytest.mark.parametrize("interval", [60.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_day_without_the_clinic_at_full_rate(log, tmp_path, monkeypatch, interval):
    """Everything that eye may say in a day waits on the disk and arrives when the clinic is back."""
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    clinic, clock = Clinic(), Clock()
    clinic.away = True
    delivery = Delivery(log, clinic, tmp_path, clock=clock)
    empty, limit, said = log.size, RateLimit(interval), 0
    while clock.now < 86400:
        while limit.allow(clock.now):
            log.append("estimate", LONGEST_ESTIMATE)
            said += 1
        delivery.pump()
        clock.now += interval / 4
    assert said >= 86400 / interval
    assert delivery.waiting == said
    assert log.size - empty < said * 1100
    clinic.away = False
    clock.now += LONGEST_PAUSE
    assert delivery.pump() == said
    estimates = [e["index"] for e in read_log(log.path) if e["kind"] == "estimate"]  # over all of its files
    assert len(estimates) == said
    assert clinic.taken == estimates
    assert delivery.waiting == 0
    assert (tmp_path / "clinic.cursor.json").stat().st_size < 100


def test_a_place_is_kept_across_files(tmp_path, key):
    clinic = Clinic()
    with AuditLog(tmp_path / "audit.ndjson", key, full=3000) as log:
        for _ in range(10):
            log.append("estimate", {})
        delivery = Delivery(log, clinic, tmp_path, clock=Clock())
        delivery.pump()
        for _ in range(20):
            log.append("estimate", {})
        again = Delivery(log, clinic, tmp_path, clock=Clock())
        assert (delivery.waiting, again.waiting) == (20, 20)
        assert again.pump() == 20
        estimates = [e["index"] for e in read_log(log.path) if e["kind"] == "estimate"]
        assert clinic.taken == estimates
        assert rewind(log, "clinic", tmp_path, index=estimates[5]) == 25
        assert Delivery(log, clinic, tmp_path, clock=Clock()).pump() == 25
        assert clinic.taken == estimates + estimates[5:]
        assert len(part_paths(log.path)) > 4


def test_a_slow_sink_holds_up_nobody_and_gets_what_is_left_at_the_end(log, tmp_path):
    slow, quick = Clinic(), Clinic()
    slow.name, let_go = "slow", threading.Event()
    slow.deliver = lambda entry: let_go.wait(30) and slow.taken.append(entry["index"])
    with Couriers([Delivery(log, slow, tmp_path), Delivery(log, quick, tmp_path)]):
        for _ in range(3):
            log.append("estimate", {})
        for _ in range(200):
            if quick.taken == [1, 2, 3]:
                break
            time.sleep(0.02)
        assert quick.taken == [1, 2, 3]
        assert slow.taken == []
        let_go.set()
    assert slow.taken == [1, 2, 3]
    assert slow.away


def test_who_comes_back_during_a_pause_still_gets_what_is_left_at_the_end(log, tmp_path, capsys):
    clinic = Clinic()
    clinic.away = True
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())  # time stands still: the pause never ends
    with Couriers([delivery]):
        log.append("estimate", {})
        for _ in range(200):
            if delivery.trouble:
                break
            time.sleep(0.02)
        clinic.away = False
    assert clinic.taken == [1]
    assert capsys.readouterr().err.splitlines() == [
        "opticaldr: clinic: nobody answers; it will be tried again",
        "opticaldr: clinic: takes entries again",
    ]


def test_hung_sinks_share_the_time_at_the_end(log, tmp_path, monkeypatch):
    monkeypatch.setattr("opticaldr.device.delivery._LAST_WORDS", 0.2)
    let_go, joined = threading.Event(), []
    hung = [Clinic(), Clinic()]
    for number, clinic in enumerate(hung):
        clinic.name, clinic.deliver = f"hung-{number}", lambda entry: let_go.wait(30)
    join = threading.Thread.join
    monkeypatch.setattr(threading.Thread, "join", lambda self, left: (joined.append(left), join(self, left)))
    with Couriers([Delivery(log, clinic, tmp_path) for clinic in hung]):
        log.append("estimate", {})
    assert sum(joined) < 2 * 0.2
    let_go.set()


def test_a_refused_entry_is_set_aside_and_does_not_block_the_next(log, tmp_path, capsys):
    clinic = Clinic()
    clinic.refuses = {2}
    for _ in range(3):
        log.append("estimate", {})
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    delivery.pump()
    assert clinic.taken == [1, 3]
    again = Delivery(log, clinic, tmp_path, clock=Clock())
    assert again.progress() == {
        "name": "clinic", "waiting": 0, "delivered": 0, "dead": 1, "why_dead": "422", "trouble": "",
    }  # fmt: skip
    assert capsys.readouterr().err == "opticaldr: clinic: refuses entry 2 for good: 422\n"


def test_why_the_latest_was_set_aside_is_told_after_a_restart_too(log, tmp_path):
    clinic, why = Clinic(), iter(["422 first", "422 second", "422 now"])

    def refuse(entry):
        raise Undeliverable(next(why))

    clinic.deliver = refuse
    for _ in range(2):
        log.append("estimate", {})
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    delivery.pump()
    delivery.cursor.acknowledged = 0  # as if another log had come: the first is refused for a second time
    clinic.deliver = lambda entry: refuse(entry) if entry["index"] == 1 else None
    delivery.pump()
    again = Delivery(log, clinic, tmp_path, clock=Clock())
    assert delivery.progress()["why_dead"] == again.progress()["why_dead"] == "422 now"


def test_progress_can_be_told_while_the_courier_sets_aside(log, tmp_path):
    class Growing(dict):
        def __iter__(self):
            raise RuntimeError("dictionary changed size during iteration")

        keys = values = items = __reversed__ = __iter__

    clinic = Clinic()
    clinic.refuses = {1}
    log.append("estimate", {})
    delivery = Delivery(log, clinic, tmp_path, clock=Clock())
    delivery.pump()
    delivery.cursor.dead = Growing(delivery.cursor.dead)
    assert (delivery.progress()["dead"], delivery.progress()["why_dead"]) == (1, "422")


def test_a_lost_cursor_means_repeats_and_the_file_ignores_them(log, tmp_path):
    out = tmp_path / "estimates.ndjson"
    for _ in range(4):
        log.append("estimate", {})
    Delivery(log, NdjsonFile(out), tmp_path, clock=Clock()).pump()
    (tmp_path / "ndjson.cursor.json").write_text("{torn")
    log.append("estimate", {})
    with out.open("ab") as stream:
        stream.write(b'{"index": 99, "torn')
    Delivery(log, NdjsonFile(out), tmp_path, clock=Clock()).pump()
    delivered = [json.loads(line) for line in out.read_text().splitlines()]
    assert [entry["index"] for entry in delivered] == [1, 2, 3, 4, 5]
    assert [entry["hash"] for entry in delivered] == [e["hash"] for e in read_log(log.path)][1:]


def test_a_cursor_of_another_log_starts_over(log, tmp_path):
    log.append("estimate", {})
    (tmp_path / "clinic.cursor.json").write_text('{"acknowledged": 17, "dead": {}}')
    clinic = Clinic()
    Delivery(log, clinic, tmp_path, clock=Clock()).pump()
    assert clinic.taken == [1]


LOG_AND_DELIVER = """
import sys, time; from pathlib import Path
from opticaldr.artefacts import load_key
from opticaldr.device.audit import AuditLog
from opticaldr.device.delivery import Delivery
from opticaldr.device.ndjson import NdjsonFile
folder = Path(sys.argv[1])
with AuditLog(folder / "audit.ndjson", load_key(folder / "key"), full=int(sys.argv[2])) as log:
    delivery = Delivery(log, NdjsonFile(folder / "out.ndjson"), folder)
    delivery.pump()
    while "once" not in sys.argv:
        print(log.append("estimate", {"x": "y" * 400})["hash"], flush=True)
        delivery.pump()
"""


@pytest.mark.proves("VOICE-1")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "full"),
    [(6, FULL), (6, 1), *(pytest.param(200, full, marks=pytest.mark.slow) for full in (FULL, 1))],
)
def test_killed_at_random_moments_nothing_is_lost_and_nothing_comes_twice(tmp_path, kills, full):
    """A child logs and delivers as fast as it can and says what is safe; it is killed again and again.

    With files that one entry fills, half of its time goes into beginning the next.
    """
    key = create_key(tmp_path / "key")
    command = [sys.executable, "-c", LOG_AND_DELIVER, tmp_path, str(full)]
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
