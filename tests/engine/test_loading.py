"""Reading one item ahead changes nothing but when things happen."""

import threading
import time

import pytest
import torch

from tdn.data.clips import Sample
from tdn.engine.loading import Timed, on_device, one_ahead


def test_the_next_item_is_fetched_while_one_is_in_use():
    second = threading.Event()

    def items():
        yield 1
        second.set()
        yield 2

    ahead = one_ahead(items())
    assert next(ahead) == 1
    assert second.wait(10), "nobody asked for it yet"
    assert list(ahead) == [2]


def test_order_and_end():
    assert list(one_ahead(range(50))) == list(range(50))
    assert list(one_ahead([])) == [] and list(one_ahead([None, None])) == [None, None]


def test_an_error_comes_in_its_turn():
    def items():
        yield 1
        raise OSError("gone")

    ahead = one_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)


def test_stopping_early_leaves_no_thread():
    before = threading.active_count()
    ahead = one_ahead(iter(range(1000)))
    next(ahead)
    ahead.close()
    assert threading.active_count() == before


def test_waiting_is_counted():
    def slow():
        time.sleep(0.05)
        yield 1

    timed = Timed(slow())
    assert list(timed) == [1] and timed.seconds >= 0.05


def shares():
    return [[([Sample(torch.full((2, 5, 3, 8, 8), n, dtype=torch.uint8), 0, (), n)], [])] for n in range(3)]


def test_a_cpu_gets_the_clips_as_they_are():
    given = shares()
    assert all(a is b for a, b in zip(on_device(given, torch.device("cpu")), given, strict=True))


@pytest.mark.gpu
def test_a_gpu_gets_them_on_itself():
    for number, ((samples, bad),) in enumerate(on_device(shares(), torch.device("cuda"))):
        assert samples[0].clip.is_cuda and (samples[0].clip == number).all() and samples[0].video == number and not bad
