"""Games of any objective: who is asked what, the penalty at real images, and the way through configs."""

import copy
import re
import textwrap
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning import Callback
from torch import nn
from torch.optim import SGD

from lightning_gen import losses
from lightning_gen.cli import main
from lightning_gen.losses import examine, objectives
from lightning_gen.models.adversarial import Batch
from lightning_gen.models.gans import GAN, LSGAN
from lightning_gen.models.gans.loss_sensitive import LossSensitiveGAN
from lightning_gen.models.gans.objective import ObjectiveGAN
from lightning_gen.nn.roles import Discriminator
from lightning_gen.randomness import Noise
from tests.game import TinyCritic, TinyData, TinyGenerator, fit, trainer, two_processes

ROOT = Path(__file__).parents[2]


def sgd(params):
    return SGD(params, lr=0.1)


def make(objective=losses.non_saturating, cls=ObjectiveGAN, critic=TinyCritic, **kwargs):
    torch.manual_seed(0)
    kwargs = {"generator_optimizer": sgd, "discriminator_optimizer": sgd, **kwargs}
    if issubclass(cls, ObjectiveGAN):
        kwargs["objective"] = objective
    return cls(generator=TinyGenerator(), discriminator=critic(), **kwargs)


def batch_of(n=6):
    images = torch.rand(n, 1, 4, 4) * 2 - 1
    return Batch(images, torch.arange(n) % 3, Noise(("test",), n))


class Bowl(Discriminator):
    """D(x) = k |x|² / 2, whose slope at x has the length k |x|; it remembers what it was shown."""

    def __init__(self, classes=None):
        super().__init__()
        self.k, self.num_classes = nn.Parameter(torch.ones(())), classes
        self.seen, self.labels = [], []

    def forward(self, x, labels=None):
        self.seen.append(x.detach().clone())
        self.labels.append(labels)
        return 0.5 * self.k * x.flatten(1).square().sum(1)


class DropoutCritic(TinyCritic):
    def __init__(self):
        super().__init__()
        self.layers.insert(3, nn.Dropout(0.5))


# Who is asked what


@pytest.mark.parametrize(
    ("objective", "reads_real", "compares"),
    [
        (losses.minimax, False, False),
        (losses.non_saturating, False, False),
        (losses.least_squares, False, False),
        (losses.hinge, False, False),
        (losses.wasserstein, False, False),
        (losses.boundary_seeking, False, False),
        (losses.b_gan, False, False),
        (losses.FDivergence("pearson"), False, False),
        (losses.FDivergence("kl", saturating=True), False, False),
        (losses.relativistic_average, True, True),
        (losses.softmax_gan, True, True),
        (lambda r, f: (f.mean() - r.mean(), (r.mean() - f).mean()), True, False),
        (lambda r, f: (f.mean() - r.mean(), (r.detach().mean() - f).mean()), True, False),
    ],
)
def test_an_objective_shows_what_it_needs(objective, reads_real, compares):
    assert examine(objective) == (reads_real, compares)


@pytest.mark.parametrize(
    ("objective", "in_all", "on_real"),
    [(losses.hinge, 3, 1), (losses.softmax_gan, 4, 2), (losses.relativistic_average, 4, 2)],
)
@pytest.mark.parametrize("share", [True, False])
def test_real_images_are_judged_for_the_generator_only_if_it_looks(
    objective, in_all, on_real, share
):
    model = make(objective, critic=Bowl, share_fakes=share)
    fit(model, count=8)
    seen = model.discriminator.seen
    flat = [x.flatten(1).std(1).eq(0).all().item() for x in seen]  # as the real ones are here
    assert (len(seen), sum(flat)) == (in_all, on_real)


@pytest.mark.parametrize("objective", [losses.hinge, losses.softmax_gan])
def test_the_discriminator_builds_no_graph_through_the_generator(objective):
    class Spy(ObjectiveGAN):
        def discriminator_loss(self, batch):
            graphs.append(self.generate(batch).grad_fn)
            return super().discriminator_loss(batch)

    for share in (True, False):
        graphs = []
        fit(make(objective, Spy, share_fakes=share), count=16)
        assert graphs == [None, None]


@pytest.mark.parametrize(
    ("objective", "cls", "kwargs"),
    [
        (losses.non_saturating, GAN, {}),
        (losses.minimax, GAN, {"saturating": True}),
        (losses.FDivergence("gan"), GAN, {}),
        (losses.least_squares, LSGAN, {}),
    ],
)
def test_the_games_that_have_a_model_are_played_as_it_plays_them(objective, cls, kwargs):
    ours, theirs = make(objective), make(cls=cls, **kwargs)
    fit(ours, max_steps=3)
    fit(theirs, max_steps=3)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert torch.equal(a, b)


def test_the_generator_gets_the_gradient_of_its_loss_with_the_other_logits_fixed():
    model, batch = make(losses.softmax_gan, share_fakes=False), batch_of()
    real = model.discriminator(batch.images).detach()
    fake = model.discriminator(model.generate(batch))
    losses.softmax_gan(real, fake).generator.backward()
    wanted = [p.grad.clone() for p in model.generator.parameters()]
    model.zero_grad()
    batch = Batch(batch.images, batch.labels, Noise(("test",), 6))
    model.generator_loss(batch)["loss"].backward()
    for p, grad in zip(model.generator.parameters(), wanted):
        torch.testing.assert_close(p.grad, grad)


def test_labels_reach_a_discriminator_that_knows_classes():
    model = make(critic=Bowl, r1_weight=1.0)
    model.discriminator.num_classes = 3
    batch = batch_of()
    model.discriminator_loss(batch)
    model.generator_loss(batch)
    assert len(model.discriminator.labels) == 4  # real, generated, the penalty, the generator's
    assert all(torch.equal(labels, batch.labels) for labels in model.discriminator.labels)


# The penalty


def test_the_penalty_is_half_the_weight_times_the_squared_slope_at_real_images_alone():
    plain = make(losses.wasserstein, critic=Bowl)
    punished = make(losses.wasserstein, critic=Bowl, r1_weight=3.0)
    batch = batch_of()
    with torch.no_grad():
        punished.discriminator.k.fill_(2.0), plain.discriminator.k.fill_(2.0)
    terms = punished.discriminator_loss(batch)
    without = plain.discriminator_loss(Batch(batch.images, None, Noise(("test",), 6)))["loss"]
    slope = (2.0 * batch.images).flatten(1).square().sum(1).mean()
    torch.testing.assert_close(terms["loss"] - without, 1.5 * slope)
    torch.testing.assert_close(terms["penalty"](), slope)
    torch.testing.assert_close(terms["objective"], without)
    assert "penalty" not in plain.discriminator_loss(batch)
    (gradient,) = torch.autograd.grad(terms["loss"] - terms["objective"], punished.discriminator.k)
    torch.testing.assert_close(gradient, 3.0 * slope / 2)


def test_a_lazy_penalty_is_taken_on_every_so_many_th_move_times_as_many():
    class Spy(ObjectiveGAN):
        def discriminator_loss(self, batch):
            terms = super().discriminator_loss(batch)
            share = (terms["loss"] - terms["objective"]) / terms["penalty"]()
            shares.append(round(share.item(), 4))
            return terms

    for every, wanted in ((1, [1.0] * 8), (3, [3.0, 0, 0, 3.0, 0, 0, 3.0, 0])):
        shares = []
        fit(make(cls=Spy, r1_weight=2.0, r1_every=every, n_critic=2))
        assert shares == wanted


def test_a_lazy_penalty_goes_on_where_it_was(tmp_path):
    def new():
        return make(critic=DropoutCritic, r1_weight=5.0, r1_every=4)

    whole, half, rest = new(), new(), new()
    fit(whole, count=48, max_epochs=2)
    fit(half, count=48, max_epochs=1).save_checkpoint(tmp_path / "half.ckpt")
    player = trainer(max_epochs=2)
    player.fit(rest, TinyData(48), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], value), name


def test_how_often_it_is_logged_does_not_change_a_run():
    def weights(every):
        model = make(critic=DropoutCritic, r1_weight=5.0, r1_every=3)
        fit(model, log_every_n_steps=every)
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1000))


def test_the_penalty_does_not_depend_on_micro_batches():
    def weights(parts):
        model = make(r1_weight=5.0, r1_every=2, micro_batches=parts, share_fakes=False)
        fit(model, precision="64-true")
        return [*model.parameters(), *model.last_terms.values()]

    torch.testing.assert_close(weights(1), weights(4), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("objective", [losses.softmax_gan, losses.relativistic_average])
def test_two_processes_compare_all_images_as_one_does(objective, tmp_path):
    class Save(Callback):
        def on_train_end(self, trainer, model):
            content = {"weights": model.state_dict(), "loss": model.latest}
            torch.save(content, tmp_path / f"{trainer.world_size}-{trainer.global_rank}.pt")

    for processes in ({}, two_processes()):
        model = make(objective, r1_weight=2.0)
        fit(model, max_steps=3, precision="64-true", callbacks=[Save()], **processes)
    one, first, second = (torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    for end in (first, second):
        torch.testing.assert_close(end["weights"], one["weights"], rtol=1e-9, atol=1e-12)
        assert end["loss"] == pytest.approx(one["loss"], rel=1e-6)


# What is refused


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"r1_weight": -1.0}, "r1_weight must not be negative"),
        ({"r1_weight": float("nan")}, "r1_weight must not be negative"),
        ({"r1_every": 0}, "r1_every must be at least 1"),
        ({"r1_weight": 1.0, "compile_networks": True}, "second derivatives"),
        (
            {"r1_weight": 1.0, "critic": lambda: TinyCritic(norm=True)},
            "must not have batch normalisation",
        ),
        ({"objective": losses.softmax_gan, "micro_batches": 2}, "compares the images of a batch"),
        ({"objective": losses.bernoulli_nll}, "bernoulli_nll does not"),
        ({"objective": losses.wasserstein_discriminator}, "and wasserstein_discriminator does not"),
        ({"objective": lambda r, f: (r, f)}, "and <lambda> does not"),
        ({"objective": lambda r, f: (r.mean(), f.mean())}, "must depend on both kinds"),
        ({"objective": lambda r, f: ((r - f).mean(), r.mean())}, "must depend on both kinds"),
    ],
)
def test_what_cannot_work_is_refused_at_construction(wrong, what):
    with pytest.raises(ValueError, match=what):
        make(**wrong)


def test_batch_norm_is_welcome_where_there_is_no_penalty():
    fit(make(losses.hinge, critic=lambda: TinyCritic(norm=True)), count=16)


# Loss-sensitive


def test_loss_sensitive_game_has_the_distances_of_its_pairs():
    model, batch = make(cls=LossSensitiveGAN, margin_scale=0.7, real_weight=0.2), batch_of()
    fakes = model.generate(batch)
    again = Batch(batch.images, batch.labels, Noise(("test",), 6))
    margin = 0.7 * (batch.images - fakes).abs().flatten(1).sum(1)
    real, fake = model.discriminator(batch.images), model.discriminator(fakes)
    wanted = losses.loss_sensitive(real, fake, margin, 0.2)
    terms = model.discriminator_loss(again)
    torch.testing.assert_close(terms["loss"], wanted.discriminator)
    torch.testing.assert_close(terms["margin"](), margin.mean())
    again = Batch(batch.images, batch.labels, Noise(("test",), 6))
    torch.testing.assert_close(model.generator_loss(again)["loss"], wanted.generator)


def test_loss_sensitive_game_moves_each_player_alone():
    model = make(cls=LossSensitiveGAN, discriminator_optimizer=lambda p: SGD(p, lr=0.0))
    before = copy.deepcopy(model.state_dict())
    fit(model, count=16)
    changed = {k.split(".")[0] for k, v in model.state_dict().items() if not v.equal(before[k])}
    assert changed == {"generator"}


@pytest.mark.parametrize("wrong", [{"margin_scale": 0.0}, {"real_weight": -0.1}])
def test_loss_sensitive_game_refuses(wrong):
    with pytest.raises(ValueError, match="must"):
        make(cls=LossSensitiveGAN, **wrong)


# Through configs


def test_the_example_of_the_documentation_is_an_objective():
    text = (ROOT / "docs" / "adding-a-model.md").read_text().split("## A loss of the zoo")[1]
    names = dict(vars(objectives))
    exec(textwrap.dedent(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]), names)  # noqa: S102
    assert examine(names["relativistic"]) == (True, False)
    real, fake = torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])
    found = names["relativistic"](real, fake)
    torch.testing.assert_close(found.discriminator, torch.tensor([-1.0, 3.0]).exp().log1p().mean())
    torch.testing.assert_close(found.generator, torch.tensor([1.0, -3.0]).exp().log1p().mean())


SETTINGS = [
    "--trackers=[csv]",
    "--trainer.accelerator=cpu",
    "--trainer.max_steps=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.callbacks=[]",
]


def config_with(path, objective, **extra):
    """The config of a DCGAN on digits with an objective."""
    part = {"size": 28, "channels": 1, "width": 4}
    model = {
        "generator": {"class_path": "DCGANGenerator", "init_args": {**part, "latent_size": 8}},
        "discriminator": {
            "class_path": "DCGANDiscriminator",
            "init_args": {**part, "norm": "none"},
        },
        "objective": objective,
    }
    content = {
        "model": {"class_path": "ObjectiveGAN", "init_args": {**model, **extra}},
        "data": {"class_path": "Digits", "init_args": {"size": 28, "batch_size": 8}},
    }
    path.write_text(yaml.safe_dump(content))
    return f"--config={path}"


@pytest.mark.parametrize(
    ("objective", "plain"),
    [
        ("lightning_gen.losses.softmax_gan", "lightning_gen.losses.softmax_gan"),
        (
            {"class_path": "lightning_gen.losses.FDivergence", "init_args": {"saturating": True}},
            {
                "class_path": "lightning_gen.losses.FDivergence",
                "init_args": {"divergence": "kl", "saturating": True},
            },
        ),
    ],
)
def test_an_objective_is_named_in_a_config_and_kept_in_checkpoints(objective, plain, tmp_path):
    from lightning_gen.cli.checkpoints import load_model

    run = tmp_path / "run"
    options = [config_with(tmp_path / "config.yaml", objective, r1_weight=1.0), f"--run_dir={run}"]
    assert main(["fit", *options, *SETTINGS, "--debug"]) == 0
    checkpoint = run / "checkpoints" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    assert content["hyper_parameters"]["objective"] == plain
    assert content["game"]["moves"] == {"discriminator": 2, "generator": 2}
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["model"]["init_args"]["objective"] == plain
    model = load_model(checkpoint)
    if isinstance(plain, str):
        assert model.objective is losses.softmax_gan
    else:
        assert model.objective == losses.FDivergence("kl", saturating=True)
    assert model.sample(2).shape == (2, 1, 28, 28)
    options[0] = f"--config={run / 'config.yaml'}"
    more = [s.replace("max_steps=2", "max_steps=3") for s in SETTINGS]
    assert main(["fit", *options, *more, "--ckpt_path=last", "--debug"]) == 0


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("lightning_gen.losses.softmaxgan", "did you mean softmax_gan?"),
        ("lightning_gen.losses.gaussian_kl", "and gaussian_kl does not"),
        ("os.system", "not a class of the platform"),
        (
            {"class_path": "lightning_gen.losses.FDivergence", "init_args": {"divergence": "js"}},
            "must be one of kl, reverse_kl",
        ),
    ],
)
def test_a_wrong_objective_is_a_sentence(objective, said, tmp_path, capsys):
    options = [config_with(tmp_path / "config.yaml", objective), f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", *options, *SETTINGS]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.count("\n") == 0


def test_the_help_shows_an_objective_in_few_words(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model.help=ObjectiveGAN"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(type: Callable[[Tensor, Tensor], Any], default: lightning_gen.losses.non_sat" in text
    assert "--model.objective.help" not in text
