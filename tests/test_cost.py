"""What a step costs, in counts that do not depend on the machine: calls, operators, FLOPs, reads.

A count is taken in the middle of a fit as `run.py fit` does it, with its callbacks and a CSV logger
that gets a line every 50 steps. The loader switches the counter on and off between two steps.
"""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import gc
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.__main__ import BENCHMARKS
from benchmarks.loops import BareGAN, PlainGAN, go_through, our_fit, random_batches
from benchmarks.timing import Variant, interleave, ratio
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.autoregressive.pixel_model import PixelModel
from lightning_gen.models.distributions import DiscretizedLogistic
from lightning_gen.models.gans.gan import GAN
from lightning_gen.models.gans.lsgan import LSGAN
from lightning_gen.models.gans.wgan_gp import WGANGP
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.nn.ema import Average
from lightning_gen.optimizers import FusedAdam

ROOT = Path(__file__).parents[1]
SHAPE = (1, 8, 8)
EVERY = 50  # steps between two log lines, as in `our_fit`


class Watched:
    """A loader during whose steps [start, stop) something is switched on."""

    def __init__(self, watch, start, stop, shape=SHAPE):
        self.watch, self.start, self.stop = watch, start, stop
        self.batches = random_batches(shape, size=8)

    def __len__(self):
        return self.stop + 1

    def __iter__(self):
        for k in range(len(self)):
            if k == self.start:
                self.watch.__enter__()
            if k == self.stop:
                self.watch.__exit__(None, None, None)
            yield self.batches[k % 4]


class Calls:
    """Counts calls of Python functions by name."""

    def __init__(self):
        self.found = Counter()

    def __enter__(self):
        sys.setprofile(self.see)

    def __exit__(self, *_):
        sys.setprofile(None)

    def see(self, frame, event, argument):
        if event == "call":
            self.found[f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}"] += 1


class Operators(TorchDispatchMode):
    """Counts aten operators by name."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Flops(TorchDispatchMode):
    """Counts floating-point operations. torch's own counter fails on a gradient of a gradient."""

    def __init__(self):
        super().__init__()
        self.found = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.found += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def mlps():
    return {"generator": MLPGenerator(SHAPE, 4), "discriminator": MLPDiscriminator(SHAPE)}


def dcgans(norm="batch"):
    return {
        "generator": DCGANGenerator(8, 1, latent_size=4, width=4),
        "discriminator": DCGANDiscriminator(8, 1, width=4, norm=norm),
    }


MODELS = {
    "GAN": lambda: GAN(**dcgans(), ema_half_life=100.0),
    "LSGAN": lambda: LSGAN(**dcgans()),
    "WGANGP": lambda: WGANGP(**dcgans("none")),
    "VAE": lambda: VAE(
        MLPEncoder(SHAPE, 4, (8,)), MLPDecoder(SHAPE, 4, (8,), outputs=2), DiscretizedLogistic()
    ),
    "PixelModel": lambda: PixelModel(
        GatedCausalStack(width=4, depth=1, first_kernel=3, head=4), SHAPE
    ),
}


def calls(loop, steps=EVERY):
    """Python calls per step, from the step after one log line to the next one."""
    watch = Calls()
    loop(Watched(watch, 2 * EVERY, 2 * EVERY + steps))
    return sum(watch.found.values()) / steps


def operators(loop, steps=20, shape=SHAPE):
    """Aten operators per step, between two log lines."""
    watch = Operators()
    loop(Watched(watch, 10, 10 + steps, shape))
    return {name: count / steps for name, count in watch.found.items()}


def flops(loop, start=10, steps=1):
    """FLOPs of some steps."""
    watch = Flops()
    loop(Watched(watch, start, start + steps))
    return watch.found


class TestCalls:
    def test_the_engine_and_lightning_add_few_python_calls_to_a_bare_step(self):
        alone = {"callbacks": [], "enable_progress_bar": False, "enable_checkpointing": False}
        ours = calls(partial(our_fit, GAN(**mlps()), **alone))
        bare = calls(partial(go_through, BareGAN(**mlps())))
        assert ours - bare <= 550

    def test_what_every_run_has_beside_adds_few_more(self):
        """A progress bar, checkpoints, throughput and a guard against NaN: the default callbacks."""
        ours = calls(partial(our_fit, GAN(**mlps())))
        bare = calls(partial(go_through, BareGAN(**mlps())))
        assert ours - bare <= 680

    def test_eight_more_terms_to_log_add_next_to_nothing(self):
        class Talkative(GAN):
            def discriminator_loss(self, batch):
                terms = super().discriminator_loss(batch)
                more = {f"more{k}": batch.images.mean for k in range(4)}
                more |= {f"ready{k}": terms["loss"] for k in range(4)}
                return {**terms, **more}

        few, many = (calls(partial(our_fit, model(**mlps()))) for model in (GAN, Talkative))
        assert many - few <= 60


class TestOperators:
    @pytest.mark.parametrize("name", MODELS)
    def test_nothing_is_read_from_the_device_between_log_lines(self, name):
        found = operators(partial(our_fit, MODELS[name]()))
        assert "aten._local_scalar_dense.default" not in found

    def test_a_step_has_about_half_the_operators_of_the_plain_loop(self):
        def networks():
            return DCGANGenerator(32, 1, width=4), DCGANDiscriminator(32, 1, width=4)

        plain = operators(partial(go_through, PlainGAN(*networks())), shape=(1, 32, 32))
        generator, discriminator = networks()
        model = GAN(generator=generator, discriminator=discriminator)
        ours = operators(partial(our_fit, model), shape=(1, 32, 32))
        assert sum(ours.values()) <= 0.55 * sum(plain.values())

    def test_averaging_is_one_operator_for_all_weights(self):
        network = DCGANGenerator(8, 1, latent_size=4, width=4, norm="none")
        average, watch = Average(network), Operators()
        with watch:
            average.update(network, 0.9)
        assert watch.found == {"aten._foreach_lerp_.Scalar": 1}


def forward_flops(network, x):
    """FLOPs of a forward pass."""
    with Flops() as watch:
        network(x)
    return watch.found


class TestFlops:
    """With g and d for a forward pass, a backward pass costs 2g or 2d, or g or d for its half.

    It saves the gradient by the input where there is none: that costs as much as the first layer
    forward, g1 or d1.
    """

    @pytest.fixture(autouse=True)
    def networks(self):
        self.own = dcgans("none")
        z, x = torch.randn(8, 4), torch.randn(8, *SHAPE)
        generator, discriminator = (self.own[name].layers for name in self.own)
        self.g, self.g1 = forward_flops(generator, z), forward_flops(generator[:2], z)
        self.d, self.d1 = forward_flops(discriminator, x), forward_flops(discriminator[:1], x)

    @property
    def judge(self):
        """The discriminator's move: forward and backward for real and for generated images."""
        return 2 * (3 * self.d - self.d1)

    @property
    def persuade(self):
        """The generator's: through the discriminator, of whose gradients one half is not needed."""
        return 3 * self.g - self.g1 + 2 * self.d

    def test_a_step_generates_once_and_skips_what_is_frozen(self):
        found = flops(partial(our_fit, GAN(**self.own)), steps=3) / 3
        assert found == self.judge + self.persuade
        assert found <= 1.02 * (3 * self.g + 8 * self.d)

    def test_fakes_that_are_not_shared_cost_one_generation_without_gradients(self):
        found = flops(partial(our_fit, GAN(**self.own, share_fakes=False)))
        assert found == self.judge + self.g + self.persuade

    def test_the_critics_steps_move_the_critic_only(self):
        only, both = (
            flops(partial(our_fit, WGANGP(**dcgans("none"), n_critic=3)), start)
            for start in (9, 11)
        )
        assert both - only == self.persuade
        # The penalty: forward, by the input, and backward through both.
        assert self.judge + self.g < only <= self.judge + self.g + 6 * self.d


class TestMemory:
    def test_the_generators_move_makes_no_gradient_of_the_discriminator(self):
        model = GAN(**dcgans())
        made = Counter()
        for name, parameter in model.named_parameters():
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: made.update([name]))
        our_fit(model, Watched(nullcontext(), 0, 4))
        assert made == {name: 5 for name, _ in model.named_parameters()}

    @pytest.mark.parametrize("name", MODELS)
    def test_no_graph_outlives_its_step(self, name):
        class Census:
            def __enter__(self):
                self.alive = [
                    each
                    for each in gc.get_objects()
                    if issubclass(type(each), Tensor) and each.grad_fn is not None
                ]

            def __exit__(self, *_):
                pass

        gc.collect()
        before = Census()
        before.__enter__()
        after = Census()
        our_fit(MODELS[name](), Watched(after, 7, 8))
        assert len(after.alive) <= len(before.alive)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["models"], ["trian"], ["models", "--nonsense"], []]
)
def test_the_command_line_answers_without_importing_torch(arguments):
    code = (
        "import sys; from lightning_gen.cli import main\n"
        f"main({arguments})\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


class TestFusedAdam:
    """One kernel goes through raw memory, so it matters how tensors lie in it."""

    def networks(self, dtype=torch.float64):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.ConvTranspose2d(6, 8, 4, bias=False),
            nn.BatchNorm2d(8),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Conv2d(1, 8, 4, stride=2, padding=1),
            nn.Conv2d(8, 12, 1),
            nn.Conv2d(12, 12, 3, groups=12),
            nn.Conv2d(12, 1, 2),
        ).to(dtype)

    def train(self, network, optimizer, steps=5, channels_last=False):
        for step in range(steps):
            generator = torch.Generator().manual_seed(step)
            z = torch.randn(3, 6, 1, 1, generator=generator, dtype=torch.float64)
            if channels_last:
                z = z.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            network(z).square().mean().backward()
            optimizer.step()

    def test_over_channels_last_weights_it_is_adam(self):
        plain, fused = self.networks(), self.networks().to(memory_format=torch.channels_last)
        assert not fused[0].weight.is_contiguous()
        self.train(plain, torch.optim.Adam(plain.parameters(), foreach=False))
        self.train(fused, FusedAdam(fused.parameters()), channels_last=True)
        for a, b in zip(plain.parameters(), fused.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("name", MODELS)
    def test_gradients_and_moments_lie_as_their_weights_do(self, name):
        model = MODELS[name]()
        our_fit(model, Watched(nullcontext(), 0, 10))
        optimizers = model.trainer.optimizers
        assert any(not p.is_contiguous() for p in model.parameters()) or name == "VAE"
        for weight in (p for optimizer in optimizers for p in optimizer.state):
            assert order(weight.grad) == order(weight)
        for optimizer in optimizers:
            for weight, state in optimizer.state.items():
                assert order(state["exp_avg"]) == order(state["exp_avg_sq"]) == order(weight)

    def test_moments_that_were_saved_in_another_memory_format_still_count(self):
        plain, fused = self.networks(), self.networks()
        adams = torch.optim.Adam(plain.parameters(), foreach=False), FusedAdam(fused.parameters())
        for network, adam in zip((plain, fused), adams, strict=True):
            self.train(network, adam)
        saved = adams[1].state_dict()
        fused.to(memory_format=torch.channels_last)
        resumed = FusedAdam(fused.parameters())
        resumed.load_state_dict(saved)
        self.train(plain, adams[0])
        self.train(fused, resumed, channels_last=True)
        for a, b in zip(plain.parameters(), fused.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def order(tensor):
    """How a tensor lies in memory: its strides, but for dimensions of one."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


class TestBenchmarks:
    def test_help_names_every_benchmark(self):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        files = {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")}
        assert {*BENCHMARKS} == files - {"loops", "timing"}
        assert all(name in done.stdout for name in BENCHMARKS)

    def test_loops_take_turns_and_what_is_compared_was_measured_in_the_same_round(self):
        seen = []

        def loop(loader):
            for batch in loader:
                seen.append(batch)
                sum(range(100 * batch**5))  # 32 times the work for batch 2 as for batch 1

        seconds = interleave({"one": Variant(loop, [1]), "two": Variant(loop, [2])}, 3, rounds=5)
        assert [len(each) for each in seconds.values()] == [5, 5]
        assert all(seen[k : k + 3] in ([1] * 3, [2] * 3) for k in range(0, 36, 3))
        found = ratio(seconds, "two", "one", ">= 2")
        assert found.ok
        assert found.low <= found.value <= found.high

    def test_an_error_in_a_loop_is_raised_where_it_was_started(self):
        def broken(loader):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            interleave({"broken": Variant(broken, [0])}, 1, rounds=1)
