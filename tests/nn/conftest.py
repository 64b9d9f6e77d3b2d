"""Processes that talk to each other."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing


def _process(rank, parts, job, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=len(parts))
    torch.save(job(parts[rank]), folder / f"{rank}.pt")
    dist.barrier()  # a process that leaves early takes the store with it
    dist.destroy_process_group()


@pytest.fixture
def together(tmp_path_factory):
    """Runs `job(part)` in one process for each part, all in one group; gives what they return."""

    def run(job, parts, start_method="fork"):
        folder = tmp_path_factory.mktemp("processes")
        torch.multiprocessing.start_processes(
            _process, (parts, job, folder), nprocs=len(parts), start_method=start_method
        )
        return [torch.load(folder / f"{rank}.pt") for rank in range(len(parts))]

    return run
