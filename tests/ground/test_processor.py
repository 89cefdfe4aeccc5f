"""The processor as its system describes it."""

import pytest

from kline_core import _processor
from kline_core._processor import LEAVE_OUT, described, left_out, processor
from kline_core.errors import SettingError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model name\t: A\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", "A (avx2, avx512f, avx512_vnni)"),
        ("model name\t: A\nflags\t\t: avx2\n\nmodel name\t: B\nflags\t\t: fpu\n", "A (avx2)"),
        ("processor : 0\nFeatures : fp asimd asimddp\nmodel name : N\n", "N (asimd, asimddp)"),
        ("model name : A\nflags : fpu\n", "A (no wide instructions)"),
        ("model name : A\n", "A (instructions unknown)"),
    ],
)
def test_name_and_instructions(text, says):
    assert str(described(text)) == says


def test_a_system_that_does_not_tell(monkeypatch, tmp_path):
    processor.cache_clear()
    monkeypatch.setattr(_processor, "_CPUINFO", tmp_path / "none")
    assert processor().instructions is None
    assert processor().name
    processor.cache_clear()


@pytest.mark.parametrize(
    ("said", "names"), [("", set()), ("avx512_vnni", {"avx512_vnni"}), (" avx2, avx512f,", {"avx2", "avx512f"})]
)
def test_instructions_that_are_left_out(monkeypatch, said, names):
    monkeypatch.setenv(LEAVE_OUT, said)
    assert left_out() == names


def test_an_instruction_that_nobody_knows(monkeypatch):
    monkeypatch.setenv(LEAVE_OUT, "avx2,sse9")
    with pytest.raises(SettingError, match=r"KLINE_LEAVE_OUT names 'sse9'; give some of avx2, .*i8mm, separated"):
        left_out()
