import os
import signal
import threading

import pytest

from flows.local_stack.signals import Signals, StoppedError


def test_a_signal_ends_the_wait_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        signals.pause(0)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(StoppedError):
            signals.pause(60)
        with pytest.raises(StoppedError):
            signals.pause(60)
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.count == 2
    assert signal.getsignal(signal.SIGTERM) == before
