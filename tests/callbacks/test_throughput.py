import time

import pytest
from pytorch_lightning.loggers import CSVLogger
from torch.utils._python_dispatch import TorchDispatchMode

from callbacks import Throughput
from callbacks.periodic import Periodic
from tests.callbacks.parts import TinyData, TinyModel, trainer


class Syncs(TorchDispatchMode):
    """Counts how often a number is fetched from a tensor, for which the host waits for the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "_local_scalar_dense" in str(function)
        return function(*args, **(kwargs or {}))


def test_it_never_waits_for_the_device(tmp_path):
    counts = []
    for callbacks in ([], [Throughput()]):
        run = trainer(tmp_path, *callbacks, log_every_n_steps=1)
        with Syncs() as syncs:
            run.fit(TinyModel(), TinyData())
        counts.append(syncs.count)
    assert counts[0] == counts[1]


class Slow(TinyData):
    """Takes 20 ms to fetch a batch."""

    def on_before_batch_transfer(self, batch, index):
        return batch

    def train_dataloader(self):
        loader = super().train_dataloader()
        fetch = loader.collate_fn
        loader.collate_fn = lambda batch: (time.sleep(0.02), fetch(batch))[1]
        return loader


class Looking(Periodic):
    def look(self, trainer, model):
        time.sleep(0.3)


class Working(TinyModel):
    def training_step(self, batch, batch_idx):
        time.sleep(0.01)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("first", [True, False])
def test_speed_and_waiting_leave_out_what_is_not_training(tmp_path, first):
    both = [Throughput(), Looking(every_n_steps=1)]
    logger = CSVLogger(tmp_path, name="", version="")
    callbacks = both if first else both[::-1]
    run = trainer(tmp_path, *callbacks, log_every_n_steps=3, logger=logger, max_epochs=1)
    run.fit(Working(), Slow())
    found = {name: value.item() for name, value in run.callback_metrics.items()}
    assert 0.02 < found["waiting_share"] < 0.95
    assert 8 / 0.1 < found["images_per_second"] < 8 / 0.01
    assert found["peak_memory_gb"] > 0.05
