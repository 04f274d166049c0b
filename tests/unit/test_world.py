"""World: the identity in one process, collectives over two, and how a failure on one rank ends the other."""

import os
import socket
from datetime import timedelta

import pytest
import torch
import torch.multiprocessing as mp

from antiphon.distributed import failure
from antiphon.distributed.gradients import sum_gradients
from antiphon.distributed.world import World
from antiphon.errors import ConfigError, RankError


def test_one_process_gets_back_what_it_gives():
    world, tensor, thing = World.from_environment(torch.device("cpu")), torch.ones(2), {"a": 1.0}
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    assert world.sum(tensor) is tensor
    assert world.max(tensor) is tensor
    assert world.sum_metrics(thing) == thing
    assert world.gather(thing) == world.gather_at_main(thing) == [thing]
    assert world.from_main(lambda: thing) is thing
    assert world.share([1, 2, 3]) == [1, 2, 3]
    error = ValueError("as it is")
    assert world.fail(error) is error
    assert world.part()
    world.close()


@pytest.mark.parametrize(("length", "size"), [(0, 2), (1, 2), (5, 2), (7, 3), (2, 4), (8, 4)])
def test_shares_are_contiguous_even_and_all_there_is(length, size):
    shares = [World(rank, size).share(range(length)) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_world_without_ranks_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="no RANK"):
        World.from_environment(torch.device("cpu"))


def _collectives(world: World) -> dict:
    rank = world.rank
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 2, 4)]
    parameters[0].grad = torch.full((3,), 1.0 + rank)
    if rank == 1:
        parameters[2].grad = torch.ones(4)
    sum_gradients(world, parameters)
    given = torch.tensor([1.0 + rank, 5.0])
    return {
        "sum": world.sum(given).tolist(),
        "given": given.tolist(),
        "max": world.max(given).tolist(),
        "sum_metrics": world.sum_metrics({"both": 1.0} | ({"one": 2.0} if rank else {})),
        "gather": world.gather({"rank": rank}),
        "at_main": world.gather_at_main(rank),
        "from_main": world.from_main(lambda: f"from {rank}"),
        "gradients": [None if one.grad is None else one.grad.tolist() for one in parameters],
    }


def _rank(rank: int, port: int, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    failure.FAILURE_TIMEOUT = timedelta(seconds=2)
    world = World.from_environment(torch.device("cpu"))
    found = _collectives(world)
    try:
        if rank == 1:
            raise ValueError("the clip is broken")
        world.sum(torch.ones(1))
    except Exception as error:
        found |= {"failed": repr(world.fail(error)), "noted": world.part()}
    torch.save(found, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    mp.spawn(_rank, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
def test_every_rank_gets_sums_and_objects(ranks):
    for found in ranks:
        assert found["sum"] == [3.0, 10.0]
        assert found["max"] == [2.0, 5.0]
        assert found["sum_metrics"] == {"both": 2.0, "one": 2.0}
        assert found["gather"] == [{"rank": 0}, {"rank": 1}]
        assert found["from_main"] == "from 0"
    assert [found["given"] for found in ranks] == [[1.0, 5.0], [2.0, 5.0]]
    assert [found["at_main"] for found in ranks] == [[0, 1], None]


@pytest.mark.slow
def test_gradients_are_summed_and_one_that_nobody_has_stays_none(ranks):
    for found in ranks:
        assert found["gradients"] == [[3.0] * 3, None, [1.0] * 4]


@pytest.mark.slow
def test_a_failure_ends_every_rank_and_names_the_first(ranks):
    assert ranks[1]["failed"] == "ValueError('the clip is broken')"
    assert ranks[0]["failed"] == repr(RankError("rank 1: ValueError: the clip is broken"))
    assert all(found["noted"] for found in ranks)
