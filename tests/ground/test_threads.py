import subprocess
import sys
import threading

import faiss
import pytest

from kline_core._threads import single_threaded


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_reaches_the_calling_thread_and_no_other():
    before = faiss.omp_get_max_threads()

    def limited():
        faiss.omp_set_num_threads(3)
        single_threaded()
        return faiss.omp_get_max_threads()

    assert in_a_thread(limited) == 1
    assert faiss.omp_get_max_threads() == before


def test_a_second_call_asks_nothing(monkeypatch):
    def twice():
        single_threaded()
        monkeypatch.setattr("kline_core._threads.ThreadpoolController", None)
        single_threaded()
        return True

    assert in_a_thread(twice)


@pytest.mark.slow
def test_a_library_imported_later_is_limited_and_none_is_imported():
    code = """
import sys
from kline_core._threads import single_threaded
single_threaded()
assert "faiss" not in sys.modules and "torch" not in sys.modules
import faiss, torch
faiss.omp_set_num_threads(3)
torch.set_num_threads(3)
single_threaded()
assert (faiss.omp_get_max_threads(), torch.get_num_threads()) == (1, 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
