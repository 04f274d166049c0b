"""What a process does that torchrun started: its device, its threads, its messages."""

import pytest
import torch

from antiphon.cli.main import main
from antiphon.distributed import device
from antiphon.errors import ConfigError


@pytest.fixture
def rank_1_of_2(monkeypatch):
    names = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)


def test_each_rank_has_a_gpu_of_its_own(rank_1_of_2, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.resolve_device("auto") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 ranks on a machine with 1 GPUs"):
        device.resolve_device("cuda")


@pytest.mark.parametrize(("omp", "threads", "expected"), [("1", None, 4), ("1", 3, 3), ("2", None, None)])
def test_ranks_divide_the_cores_unless_someone_says_how_many(rank_1_of_2, monkeypatch, omp, threads, expected):
    taken: list[int] = []
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setattr(device, "_cores", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    device.prepare_cpu(threads)
    assert taken == ([] if expected is None else [expected])


@pytest.mark.parametrize(("rank", "said"), [("0", "antiphon runs runs in one process"), ("1", "")])
def test_rank_0_alone_says_what_all_ranks_meet(rank_1_of_2, monkeypatch, capsys, rank, said):
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as left:
        main(["runs"])
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert bool(said) == bool(printed)
