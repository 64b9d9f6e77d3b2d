"""A file that is overwritten or removed while an epoch runs: the run stops in a sentence, or goes on."""

import os

import pytest

from datamodules import DataError
from datamodules.batches import GlobalBatches

from .test_corrupt import COUNT, level_at, numbered, path_of, stand_in
from .tiny import Recorder, trainer


class Spoiler(Recorder):
    """Overwrites or removes a file once some batches were trained on."""

    def __init__(self, path, after=3, spoil=lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n")):
        super().__init__()
        self.path, self.after, self.spoil = path, after, spoil

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if len(self.seen) == self.after:
            self.spoil(self.path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    ],
)
def test_an_image_that_turns_corrupt_in_the_middle_of_an_epoch(tmp_path, workers, spoil):
    order, second = (GlobalBatches(COUNT, 4).order(epoch) for epoch in (0, 1))
    victim = level_at(int(order[-1]))  # in the last batch, which no worker has fetched ahead
    path = path_of(tmp_path / "fail", victim)
    model, data = Spoiler(path, 3, spoil), numbered(tmp_path / "fail", on_corrupt="fail")
    data.num_workers = workers
    with pytest.raises(DataError) as caught:
        trainer(max_epochs=1).fit(model, data)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    assert len(model.seen) == COUNT // 4 - 1

    path = path_of(tmp_path / "skip", victim)
    model, data = Spoiler(path, 3, spoil), numbered(tmp_path / "skip", num_workers=workers)
    trainer(max_epochs=2).fit(model, data)
    drawn = [level_at(place) for epoch in (order, second) for place in epoch.tolist()]
    assert sum(model.seen, []) == [stand_in(k, (victim,)) for k in drawn]
    assert data.corrupt("train") == [str(path)]
