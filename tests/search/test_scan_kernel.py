"""The compiled loops beside plain ones, for every length of vectors and layout of rows."""

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core._processor import LEAVE_OUT
from kline_core.search import scan_kernel
from kline_core.search.principal_scan import PrincipalScan
from kline_core.search.scan_code import scan_code
from kline_core.search.scan_kernel import RowArrays, Search, has_dots, kernel, layout, vector_length
from kline_core.search.scan_layout import MOST_OF_PAIRS, OFFSET, Dots, Layout, Part
from tests.naive import similarity
from tests.support.examples import examples
from tests.support.vector_sets import few_directions

ROOT = Path(__file__).parents[2]
NARROWER = ["", "avx512f", "avx512f,avx2"]
WITHOUT_FOURS = [f"avx512_vnni,avx_vnni,{without}" for without in NARROWER]
FLOATS = (Part(0, 9, 8),), (Part(1, 11, 11),)
CODES = (Part(0, 9, 8, codes=True),), (Part(0, 9, 9, codes=True), Part(1, 11, 11, codes=True))
BOTH = (Part(0, 9, 9, codes=True), Part(1, 11, 11, codes=True)), CODES[1]
DOTS = (Part(0, 32, 32, codes=True),), (Part(1, 11, 11),)


def whole_numbers(rng, *shape, most=9):
    """Numbers whose sums of products every float32 holds, so that the order of a sum does not matter."""
    return rng.integers(-most, most + 1, shape)


@given(
    st.integers(0, 2**32 - 1), st.sampled_from(NARROWER), st.sampled_from([FLOATS, CODES, BOTH]),
    st.integers(1, 300), st.integers(0, 60), st.integers(1, 20), st.sampled_from([3, 128]),
)  # fmt: skip
@settings(deadline=None, max_examples=examples(60))
def test_the_best_of_each_prefix(seed, without, parts, count_of_rows, asked, count, block):
    rng = np.random.default_rng(seed)
    bounds, scores = parts
    first, second = (whole_numbers(rng, count_of_rows, width) for width in (9, 11))
    wholes = np.concatenate([first, second], axis=1) if len(scores) == 2 else second
    queries = whole_numbers(rng, asked, wholes.shape[1]).astype(np.float32)
    # Bounds that are the scores where all numbers meet, and that let everything pass where not.
    whole = sum(part.width for part in bounds) == wholes.shape[1]
    if whole:
        # Scores below -3 there are none of.
        first, second, wholes, queries = (np.abs(each) for each in (first, second, wholes, queries))
    kind, more = (np.uint8, OFFSET) if scores[0].codes else (np.float32, 0)
    first, second = ((each + more).astype(kind) for each in (first, second))
    known = np.sort(rng.integers(0, count_of_rows + 1, asked))
    exact = queries @ wholes.astype(np.float32).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LEAVE_OUT, without)
        patch.setattr(scan_kernel, "_BLOCK", block)
        search = Search.of(queries, known, count)
        beat = search.to_beat(0.5 if whole else 10_000.0)
        vectors = queries if whole else np.zeros((asked, 8), dtype=np.float32)
        passed = 0
        for start in range(0, search.end, 2 * block):
            stop = min(start + 2 * block, search.end)
            arrays = RowArrays(first, second)
            panels, slack = search.panels(vectors), 0.5 if whole else 10_000.0
            passed += search.go(kernel(layout(bounds, scores)), arrays, panels, beat, (start, stop), slack)
    if not whole:
        assert passed == known.sum()
    for query, limit in enumerate(known.tolist()):
        rows = [row for row in search.best[query].tolist() if row >= 0]
        assert len(set(rows)) == len(rows) == min(count, limit)
        assert all(row < limit for row in rows)
        assert sorted(exact[query, rows].tolist()) == sorted(exact[query, :limit].tolist())[-count:]
        lowest = search.lowest[query]
        assert lowest == (-np.inf if limit < count else min(exact[query, rows]))


@pytest.mark.parametrize("without", [*NARROWER, *WITHOUT_FOURS])
def test_sums_of_bytes(without, monkeypatch):
    monkeypatch.setenv(LEAVE_OUT, without)
    dots = has_dots()
    if dots is None:
        pytest.skip("this processor multiplies no bytes")
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (400, 32)).astype(np.uint8)
    # As far as a sum of pairs can go, in both directions.
    codes[:40], codes[40:80] = 255, 0
    rows = whole_numbers(rng, 400, 11).astype(np.float32)
    asked = whole_numbers(rng, 40, 32, most=127 if dots is Dots.FOURS else MOST_OF_PAIRS // 8)
    if dots is Dots.PAIRS:
        # All that meet in one sum is one number, or two that meet first.
        asked[:8] = 0
        asked[:4, [0, 2, 16, 18]] = MOST_OF_PAIRS - 1
        asked[4:8, [0, 1, 30, 31]] = -(MOST_OF_PAIRS // 2)
    assert asked.min() < -10
    known = np.full(40, 400)
    search = Search.of(np.zeros((40, 11), dtype=np.float32), known, 1)
    exact = asked @ codes.astype(np.int64).T
    for least in (-(10**9), -5000, 0, 1, 20_000, 10**9):
        search.scores[:] = np.inf
        beat = np.full(len(search.limits), 10**9, dtype=np.int32)
        beat[search.spare :] = least
        panels = search.panels(asked.astype(np.int8))
        passed = search.go(kernel(layout(*DOTS, dots=True)), RowArrays(codes, rows), panels, beat, (0, 400))
        assert passed == (exact > least).sum()


@pytest.mark.parametrize("without", [*NARROWER, *WITHOUT_FOURS])
def test_what_is_to_be_beaten_is_reckoned_alike_before_and_in_the_loops(without, monkeypatch):
    monkeypatch.setenv(LEAVE_OUT, without)
    if has_dots() is None:
        pytest.skip("this processor multiplies no bytes")
    rng = np.random.default_rng(0)
    codes, rows = rng.integers(0, 256, (90, 32)).astype(np.uint8), whole_numbers(rng, 90, 11).astype(np.float32)
    queries = whole_numbers(rng, 9, 11).astype(np.float32)
    search = Search.of(queries, np.full(9, 90), 4)
    errors, steps = search.spared(rng.uniform(-2, 2, 9)), search.spared(rng.uniform(1, 1e4, 9))
    errors[search.spare] = np.inf
    beat = search.whole_to_beat(errors, steps)
    assert (beat[search.spare :] == -(10**9)).all()
    assert (beat[: search.spare] == 10**9).all()
    search.go(
        kernel(layout(*DOTS, dots=True)), RowArrays(codes, rows), search.panels(np.zeros((9, 32), np.int8)), beat,
        (0, 90), 0.0, errors, steps,
    )  # fmt: skip
    assert np.array_equal(beat, search.whole_to_beat(errors, steps))
    assert (np.abs(beat[search.spare + 1 :]) < 10**9).all()


@pytest.mark.parametrize("vector", [16, 8])
def test_fours_of_bytes_take_one_instruction(vector):
    scan_kernel._host()
    features = "+avx512f,+avx512bw,+avx512vl,+avx512vnni" if vector == 16 else "+avx2,+fma,+avxvnni"
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(features=features, opt=3)
    rows = scan_kernel._ROWS[vector]
    text = assembly(Layout(*DOTS, vector, scan_kernel._VECTORS, rows, 128, Dots.FOURS), machine)
    assert text.count("vpdpbusd") >= scan_kernel._VECTORS * rows


@pytest.mark.parametrize("without", NARROWER)
def test_a_length_that_was_left_out_is_not_used(without, monkeypatch):
    monkeypatch.setenv(LEAVE_OUT, "")
    widest = vector_length()
    monkeypatch.setenv(LEAVE_OUT, without)
    length = vector_length()
    assert length <= {"": 16, "avx512f": 8, "avx512f,avx2": 4}[without]
    assert without or length == widest
    rows = scan_kernel._ROWS[length]
    text = assembly(Layout(*FLOATS, length, scan_kernel._VECTORS, rows, 128), scan_kernel._machine())
    for register, numbers in (("zmm", 16), ("ymm", 8)):
        assert (register in text) <= (numbers <= length)


def assembly(layout, machine):
    module = llvm.parse_assembly(scan_code(layout))
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    return machine.emit_assembly(module)


def test_the_program_suits_arm():
    scan_kernel._host()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=3)
    vectors, rows = scan_kernel._VECTORS, scan_kernel._ROWS[4]
    text = assembly(Layout(*CODES, 4, vectors, rows, 128), machine)
    assert text.count("fmla") >= vectors * rows


def test_a_layout_is_compiled_once():
    one = kernel(layout(*FLOATS))
    assert kernel(layout(*FLOATS)) is one
    assert kernel(layout(*CODES)) is not one


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros((50, 9)), np.zeros((50, 11), dtype=np.float32)),
        (np.zeros((50, 18), dtype=np.float32)[:, ::2], np.zeros((50, 11), dtype=np.float32)),
        (np.zeros((50, 9), dtype=np.float32), np.zeros((50, 12), dtype=np.float32)),
    ],
)
def test_arrays_that_lie_otherwise_are_refused(first, second):
    search = Search.of(np.zeros((5, 11), dtype=np.float32), np.full(5, 50), 3)
    panels = search.panels(np.zeros((5, 8), dtype=np.float32))
    with pytest.raises(ValueError, match="do not lie in memory"):
        search.go(kernel(layout(*FLOATS)), RowArrays(first, second), panels, search.to_beat(100.0), (0, 50), 100.0)


def test_limits_of_another_type_are_the_same_limits():
    rows = few_directions(300)
    known = np.arange(0, 300, 7)
    one, other = (PrincipalScan.of(rows).nearest(rows[: len(known)], each, 5) for each in (known, known.astype("i4")))
    assert np.array_equal(one[0], other[0])
    assert (other[0] < known[:, None]).all()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_is_forked_while_something_is_compiled_compiles(monkeypatch):
    compiling = threading.Event()
    of = scan_kernel.Kernel.of

    def slow(layout):
        compiling.set()
        return of(layout)

    monkeypatch.setattr(scan_kernel.Kernel, "of", slow)
    other = layout((Part(0, 9, 7),), (Part(1, 11, 10),))
    thread = threading.Thread(target=kernel, args=(other,))
    thread.start()
    assert compiling.wait(60)
    with warnings.catch_warnings():
        # Of threads beside the one that forks, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if kernel(layout((Part(0, 9, 6),), (Part(1, 11, 10),))) else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
def test_a_process_that_may_not_run_what_it_compiles_is_served_by_faiss():
    # PR_SET_MDWE, which is what MemoryDenyWriteExecute asks for.
    code = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
import numpy as np
from kline_core.errors import SettingError
from kline_core.patterns.mapped_vectors import MappedVectors
from kline_core.search.disk_index import DiskIndex
from tests.support.searches import built
index = built(20)
assert index.scan is None
assert index.nearest(np.array(index.rows[:5]), np.full(5, 20), 3)[0].shape == (5, 3)
try:
    DiskIndex.build(MappedVectors(index.rows, index.rows[:0]))
except SettingError as error:
    assert "KLINE_VECTORS=memory" in str(error)
else:
    sys.exit(1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    if done.returncode == 77:
        pytest.skip("this kernel cannot forbid it")
    assert done.returncode == 0, done.stderr


def test_scores_are_those_of_the_pair():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 11)).astype(np.float32)
    queries = rng.standard_normal((5, 11)).astype(np.float32)
    search = Search.of(queries, np.full(5, 50), 50)
    loops, panels = kernel(layout((Part(1, 11, 11),), FLOATS[1])), search.panels(queries)
    search.go(loops, RowArrays(rows, rows), panels, search.to_beat(100.0), (0, 50), 100.0)
    for query in range(5):
        held = zip(search.best[query].tolist(), search.scores[search.spare + query].tolist(), strict=True)
        assert all(abs(score - similarity(queries[query], rows[row])) < 1e-5 for row, score in held)
