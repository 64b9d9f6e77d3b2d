"""Training from Python alone, on a machine that lacks all that is optional."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
for name in ("wandb", "jsonargparse", "tensorboard", "lmdb", "h5py", "sklearn"):
    sys.modules[name] = None  # what makes `import` fail
import lightning_gen._torchvision
import torch
from pytorch_lightning import Trainer
torch.set_num_threads(1)
from callbacks import FID, NaNGuard, Progress, SampleGrid, Throughput
from lightning_gen.models.gans import GAN
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from tests.fake import FakeImages

networks = DCGANGenerator(16, 1, width=4), DCGANDiscriminator(16, 1, width=4)
model = GAN(generator=networks[0], discriminator=networks[1], ema_half_life=100.0)
callbacks = [FID(n=100, extractor="seeded"), NaNGuard(), SampleGrid(2, 2), Throughput()]
trainer = Trainer(
    max_steps=3, accelerator="cpu", logger=False, enable_model_summary=False,
    enable_progress_bar=False, default_root_dir=sys.argv[1], callbacks=callbacks,
)
trainer.fit(model, FakeImages(shape=(1, 16, 16), batch_size=4))
assert trainer.global_step == 3
assert model.sample(2).shape == (2, 1, 16, 16)
"""


def test_training_needs_none_of_the_optional_packages(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "result.json").exists()
    assert (tmp_path / "samples" / "latest.png").exists()
