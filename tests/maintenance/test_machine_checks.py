"""Checks of the machine and of what is installed on it."""

from collections import namedtuple
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from packaging.requirements import Requirement

from kline_core import _memory
from kline_core._processor import Processor
from kline_core.bars.sessions import last_known_day
from kline_core.maintenance import machine_checks
from kline_core.maintenance.machine_checks import (
    GIB,
    check_calendars,
    check_clock,
    check_machine,
    check_packages,
    check_processor,
    compared,
)

Memory = namedtuple("Memory", "total available")


def states(checks):
    return {check.subject: check.state for check in checks}


@pytest.mark.parametrize(
    ("instructions", "state", "says"),
    [
        (("avx2", "avx512f", "avx512_vnni"), "ok", "8-bit products"),
        (("avx2", "avx512f"), "note", "two to three times as long"),
        (("asimd",), "note", "two to three times as long"),
        ((), "note", "neither AVX2 nor NEON"),
        (None, "note", "does not tell"),
    ],
)
def test_what_a_processor_means_for_speed(instructions, state, says):
    found = check_processor(Processor("some", instructions))
    assert found.state == state
    assert says in found.text


@pytest.mark.parametrize(("free", "state"), [(8, "ok"), (1, "note"), (0.1, "problem")])
def test_memory_that_is_short(monkeypatch, tmp_path, free, state):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(16 * GIB, int(free * GIB)))
    assert states(check_machine(tmp_path))["memory"] == state


def test_memory_that_a_container_is_granted(monkeypatch, tmp_path):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(64 * GIB, 32 * GIB))
    monkeypatch.setattr(_memory, "_CGROUPS", (tmp_path / "memory.max",))
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (memory,) = (check for check in check_machine(None) if check.subject == "memory")
    assert (memory.state, memory.text) == ("note", "1.0 GiB free of 64.0; close other programs")
    (tmp_path / "memory.max").write_text("max\n")
    assert states(check_machine(None))["memory"] == "ok"


def test_the_disk_is_that_of_a_home_that_is_not_there_yet(tmp_path):
    assert "disk" in states(check_machine(tmp_path / "not" / "yet"))
    assert "disk" not in states(check_machine(None))


def test_what_is_installed_here_fits():
    assert {check.state for check in check_packages()} <= {"ok", "note"}


def test_packages_outside_of_their_bounds_are_named_with_the_command():
    asked = ["numpy>=1", "numpy<1", "no-such-package>=2", "absent; extra == 'test'"]
    found = list(compared([Requirement(text) for text in asked]))
    assert [check.state for check in found] == ["problem", "problem", "ok"]
    assert found[0].text.endswith("is outside <1; run `pip install 'numpy<1'`")
    assert found[1].text == "no-such-package is missing; run `pip install 'no-such-package>=2'`"
    assert found[2].text.startswith("1 within their bounds: numpy ")


def test_a_program_that_is_not_installed_has_no_bounds(monkeypatch):
    monkeypatch.setattr(machine_checks, "PACKAGE", "no-such-package")
    (found,) = check_packages()
    assert found.state == "note"


def test_another_installed_version_is_named(monkeypatch):
    monkeypatch.setattr(machine_checks, "__version__", "99.0")
    assert next(iter(check_packages())).text.startswith("kline-factor ")


def test_a_clock_before_the_program_was_installed():
    assert states(check_clock()) == {"clock": "ok", "time zones": "ok"}
    (clock, _) = check_clock(datetime(2001, 1, 1, tzinfo=UTC))
    assert (clock.state, clock.text[:30]) == ("problem", "it is 2001-01-01 00:00 UTC her")


def test_zones_that_the_system_does_not_know(monkeypatch):
    monkeypatch.setattr(machine_checks, "ZONES", ("Asia/Nowhere",))
    assert "Asia/Nowhere" in list(check_clock())[1].text


@pytest.mark.parametrize(("left", "state"), [(60, "ok"), (59, "note"), (0, "note"), (-1, "problem")])
def test_how_long_a_calendar_goes_on(monkeypatch, left, state):
    monkeypatch.setattr(machine_checks, "CALENDARS", ("XSHG",))
    last = datetime.fromisoformat(str(last_known_day("XSHG"))).replace(tzinfo=UTC)
    (found,) = check_calendars(last - timedelta(days=left))
    assert found.state == state
    assert str(last.date()) in found.text
