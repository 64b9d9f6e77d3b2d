"""Each image once, the same global batches on any number of processes."""

import pytest
import torch

from datamodules.batches import EvaluationBatches, GlobalBatches


def training(world, position=0, count=23, batch_size=4, seed=0):
    """The global batches, put together from those of each process."""
    ranks = [
        list(GlobalBatches(count, batch_size, seed, rank, world, lambda: position))
        for rank in range(world)
    ]
    return [torch.cat(parts).tolist() for parts in zip(*ranks, strict=True)]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_an_epoch_shows_no_image_twice_and_leaves_out_less_than_a_batch(world):
    batches = training(world)
    seen = [index for batch in batches for index in batch]
    assert [len(batch) for batch in batches] == [4] * 5
    assert len(set(seen)) == 20
    assert set(seen) <= set(range(23))


def test_all_images_come_when_the_batch_divides_their_number():
    assert sorted(sum(training(2, count=24), [])) == list(range(24))


def test_any_number_of_processes_cuts_the_same_global_batches():
    assert training(1) == training(2) == training(4)


def test_a_process_takes_a_contiguous_slice_of_the_global_batch():
    whole, halves = training(1), list(GlobalBatches(23, 4, 0, rank=1, world=2))
    assert [half.tolist() for half in halves] == [batch[2:] for batch in whole]


def test_the_order_depends_on_the_epoch_and_on_the_seed():
    first, second = training(1), training(1, position=20)
    assert first != second
    assert first != training(1, seed=1)
    assert first == training(1)


@pytest.mark.parametrize("done", range(11))
def test_starting_at_a_position_goes_on_without_a_gap_or_a_repeat(done):
    endless = training(1) + training(1, 20) + training(1, 40) + training(1, 60)
    assert training(1, position=4 * done) == endless[done : done + 5]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [1, 2, 8, 9, 13, 20])
def test_evaluation_shows_each_image_once_in_order(world, count):
    ranks = [list(EvaluationBatches(count, 4, rank, world)) for rank in range(world)]
    assert [len(r) for r in ranks] == [
        len(EvaluationBatches(count, 4, k, world)) for k in range(world)
    ]
    seen = torch.cat([batch for rank in ranks for batch in rank]).tolist()
    assert sorted(seen) == list(range(count))
    if world == 1:
        assert seen == list(range(count))
    for rank in ranks:
        own = torch.cat(rank).tolist() if rank else []
        assert own == sorted(own)


def test_the_last_batch_of_an_evaluation_is_cut_as_evenly_as_it_goes():
    sizes = [[len(b) for b in EvaluationBatches(18, 8, rank, 4)] for rank in range(4)]
    assert sizes == [[2, 2, 1], [2, 2, 1], [2, 2], [2, 2]]
