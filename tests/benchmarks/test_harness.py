"""The stopwatch, on a clock that only the candidates and the sweeps move."""

import gc
from functools import partial

import pytest
import torch

from pydlx.benchmarks.case import Case, Quantity, Setting, at_least, at_most
from pydlx.benchmarks.harness import (
    Effort,
    Finding,
    Race,
    Timing,
    event_stopwatch,
    host_stopwatch,
    measure,
    pinned_threads,
    race,
)

CPU = Setting(torch.device("cpu"), threads=1)


class FakeTime:
    def __init__(self):
        self.now = 0.0
        self.calls = []

    def clock(self):
        return self.now

    def candidate(self, name, *seconds):
        """Takes the given times call by call, the last one from then on."""
        left = list(seconds)

        def run():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def race(self, candidates, effort, **options):
        return race(candidates, effort, host_stopwatch(self.clock), **options)


def outcome(targets=(), **laps):
    timings = {name: Timing(dict(enumerate(seconds))) for name, seconds in laps.items()}
    return Race(Case("case", dict, tuple(targets)), timings)


def test_candidates_run_in_turn():
    time = FakeTime()
    time.race({"a": time.candidate("a", 1.0), "b": time.candidate("b", 1.0)}, Effort(seconds=3.0, least=1, most=9))
    assert time.calls[4:] == ["a", "b"] * 3  # after two calls each to find their pace


def test_first_calls_do_not_count():
    time = FakeTime()
    timing = time.race({"a": time.candidate("a", 0.1, 7.0, 2.0, 5.0, 3.0)}, Effort(seconds=1.0, least=3, most=9))["a"]
    assert list(timing.laps.values()) == pytest.approx([2.0, 5.0, 3.0])
    assert timing.minimum == pytest.approx(2.0)
    assert timing.median == pytest.approx(3.0)


def test_slow_candidates_run_less_often_but_always_beside_the_fast_ones():
    time = FakeTime()
    paces = {"fast": 0.01, "middling": 0.09, "slow": 5.0}
    timings = time.race(
        {name: time.candidate(name, seconds) for name, seconds in paces.items()}, Effort(seconds=1.0, least=5, most=40)
    )
    laps = {name: set(timing.laps) for name, timing in timings.items()}
    assert len(laps["fast"]) == 40
    assert len(laps["slow"]) == 5
    assert 11 <= len(laps["middling"]) <= 22
    assert laps["slow"] < laps["middling"] < laps["fast"]
    assert time.calls.count("slow") == 6, "a call longer than the whole budget is not repeated to find the pace"


def test_emptying_the_caches_comes_before_every_call_and_takes_no_time():
    time = FakeTime()

    def empty_caches():
        time.calls.append("sweep")
        time.now += 100.0

    run = {"a": time.candidate("a", 1.0), "b": time.candidate("b", 2.0)}
    timings = time.race(run, Effort(seconds=1.0, least=2, most=2), empty_caches=empty_caches)
    assert time.calls[::2] == ["sweep"] * (len(time.calls) // 2)
    assert timings["a"].minimum == 1.0
    assert timings["b"].minimum == 2.0


def test_a_gpu_is_timed_by_its_own_clock(monkeypatch):
    """A call only queues its work; the device does it when it is waited for, after the sweep that was queued first."""
    queue, device = [], FakeTime()

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            queue.append(self)

        def synchronize(self):
            for entry in queue:
                if isinstance(entry, Event):
                    entry.milliseconds = 1e3 * device.now
                else:
                    device.now += entry
            queue.clear()

        def elapsed_time(self, end):
            return end.milliseconds - self.milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    sweep = partial(queue.append, 100.0)
    timing = race({"a": partial(queue.append, 3.0)}, Effort(1.0, 2, 2), event_stopwatch(), empty_caches=sweep)["a"]
    assert list(timing.laps.values()) == [3.0, 3.0]


def test_the_collector_is_off_during_a_race_and_on_again_after_a_failure():
    seen = []

    def fail():
        seen.append(gc.isenabled())
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        race({"a": fail}, Effort(1.0, 1, 1), host_stopwatch())
    assert seen == [False]
    assert gc.isenabled()


def test_ratios_are_of_the_minima_and_of_common_rounds():
    timings = {"native": Timing({0: 1.0, 1: 4.0, 2: 2.0}), "peer": Timing({0: 8.0, 2: 6.0})}
    result = Race(Case("case", dict), timings)
    assert result.ratio("peer") == 6.0
    assert result.median_ratio("peer") == pytest.approx((8.0 / 1.0 + 6.0 / 2.0) / 2)


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (at_most(0.5, "peer"), True),
        (at_most(0.49, "peer"), False),
        (at_least(2, "peer"), True),
        (at_least(2.1, "peer"), False),
        (at_most(0.1, "peer", or_seconds=1.0), True),
        (at_most(0.1, "peer", or_seconds=0.9), False),
        (at_most(0.5, "peer", or_seconds=0.9), True),
        (at_most(1, "another"), None),
    ],
)
def test_targets(target, met):
    (verdict,) = outcome([target], native=[1.0, 3.0], peer=[2.0, 9.0]).verdicts
    assert verdict.met is met


def test_targets_say_what_is_asked():
    assert at_most(0.4, "max_pool").text == "≤ 0.4 × max_pool"
    assert at_least(6, "eager").text == "≥ 6 × as fast as eager"
    assert at_most(8, "solve", or_seconds=0.15).text == "≤ max(0.15 s, 8 × solve)"


@pytest.mark.parametrize(("value", "met"), [(0.01, True), (0.011, False), (float("nan"), False)])
def test_quantities(value, met):
    finding = measure(Quantity("error", "grey levels", 0.01, lambda: value), CPU, Effort(1.0, 1, 1))
    assert isinstance(finding, Finding)
    assert [verdict.met for verdict in finding.verdicts] == [met]


def test_peers_that_are_not_installed_are_left_out():
    case = Case("case", lambda: {"native": lambda: 1, "peer": None}, (at_least(2, "peer"),))
    result = measure(case, CPU, Effort(0.001, 1, 2))
    assert result.missing == ("peer",)
    assert set(result.timings) == {"native"}
    assert [verdict.met for verdict in result.verdicts] == [None]


def test_threads_are_pinned_and_given_back():
    before = torch.get_num_threads()
    with pinned_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_the_ratio_asked_for_follows_from_either_bound():
    result = outcome(native=[1.0], peer=[2.0])
    assert result.asked_ratio(at_least(4, "peer")) == 4.0
    assert result.asked_ratio(at_most(0.1, "peer", or_seconds=0.8)) == pytest.approx(2.0 / 0.8)


def test_peers_come_before_the_reference_and_yardsticks():
    laps = {name: Timing({0: 1.0}) for name in ("copy", "native", "reference", "peer")}
    assert Race(Case("case", dict), laps, ("absent",)).others == ["peer", "absent", "reference", "copy"]
