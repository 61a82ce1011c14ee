"""How a step is executed changes no result: split graphs, checkpointing, compilation, half precision, prefetching."""

import functools
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthaware_uda import DAFConfig, DAFTrainer, ISLConfig, ISLTrainer, SegDepthOutput
from depthaware_uda.data import collate
from depthaware_uda.losses import cross_entropy, entropy_loss
from depthaware_uda.models import ASPPv2, CaffeResNet101, DepthAttentionHead, DepthGate, DepthSegmenter
from depthaware_uda.models.dilated import DilatedSum, sum_of_dilated
from depthaware_uda.trainers import Trainer, TrainerConfig
from depthaware_uda.trainers.step.batches import prefetched
from depthaware_uda.trainers.step.execution import Execution
from depthaware_uda.trainers.step.optimizers import fused, model_optimizer
from depthaware_uda.types import Batch, SampleDataset
from tests.tiny import CLASSES, FewLayers, Scenes, assert_same_weights, tiny_model, weights

SETTINGS: dict[str, Any] = {
    **{"max_steps": 2, "precision": "float32", "adversarial_weight": 0.1, "depth_scale": 0.02, "seed": 1},
    **{"discriminator_channels": 4, "batch_size": 2, "learning_rate": 0.001},
}


def trained(model: nn.Module, **settings: Any) -> DAFTrainer:
    source, target = Scenes(2), Scenes(2, seed=1)
    trainer = DAFTrainer(
        model, source, target, DAFConfig(**{**SETTINGS, **settings}), device="cpu", progress=False
    )  # fmt: skip
    for _ in range(2):
        trainer.step(source=collate(source.samples), target=collate(target.samples))
    return trainer


def shallow_caffe() -> DepthSegmenter:
    """The stem and blocks of the published network, with one block per stage."""
    torch.manual_seed(0)
    backbone = CaffeResNet101()
    for name in ("layer1", "layer2", "layer3", "layer4"):
        setattr(backbone, name, getattr(backbone, name)[:1])
    return DepthSegmenter(backbone, ASPPv2(2048, CLASSES, dilations=(1, 2)))


class Whole(Execution):
    """One autograd graph from the image to the loss."""

    def forward(self, network: Any, image: Tensor) -> Any:
        return network(image)

    def backward(self, loss: Tensor, *, inputs: Iterable[Tensor] | None = None) -> None:
        torch.autograd.backward(loss, inputs=None if inputs is None else list(inputs))


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2}, {"entropy_weight": 0.1}])
def test_cutting_the_graph_at_the_outputs_changes_no_bit(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = trained(tiny_model(), **settings)
    monkeypatch.setattr("depthaware_uda.trainers.base.Execution", Whole)
    whole = trained(tiny_model(), **settings)
    assert isinstance(whole.execution, Whole)
    for name, module in cut.modules().items():
        assert_same_weights(weights(module), weights(whole.modules()[name]))


class Consistency(Trainer[TrainerConfig]):
    """A user-defined method: two forward passes, with losses on both."""

    domains = ("source", "target")

    def __init__(self, model: nn.Module, *, together: bool) -> None:
        super().__init__(model, TrainerConfig(max_steps=1, precision="float32", seed=1), device="cpu", progress=False)
        self.together = together
        self.target = Scenes(2, seed=1)
        self.check_inputs()

    def fixed_datasets(self) -> dict[str, SampleDataset]:
        return {"source": Scenes(2), "target": self.target}

    datasets = fixed_datasets

    def compute(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        seen, other = self.predict(source), self.predict(target)
        losses = {"segmentation": cross_entropy(seen.logits, source["label"]), "entropy": entropy_loss(other.logits)}
        for loss in [sum(losses.values())] if self.together else losses.values():
            self.backward(torch.as_tensor(loss))
        return losses


class Unfinished(Consistency):
    """Forgets to check its inputs, and to call `backward`."""

    def check_inputs(self) -> dict[str, tuple[int, int]]:
        return super().check_inputs() if hasattr(self, "ready") else {}

    def compute(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        return {"segmentation": cross_entropy(self.predict(source).logits, source["label"])}


def test_a_method_of_ones_own_that_forgets_a_call_is_told_or_does_without() -> None:
    trainer = Unfinished(tiny_model(), together=True)
    trainer.ready = True  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match=r"no gradient has reached the model: compute\(\) of Unfinished must call"):
        trainer.fit()
    assert trainer.num_classes == 7


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "it returned None"),
        ({}, "it returned {}"),
        (torch.ones(()), r"it returned tensor\(1.\)"),
        ({"segmentation": torch.ones(()), "entropy": 0.5}, "'entropy' is 0.5"),
        ({"entropy": torch.ones(2)}, r"'entropy' is torch.float32 \(2,\)"),
    ],
)
def test_a_method_of_ones_own_that_returns_no_losses_is_told(
    returned: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Consistency(tiny_model(), together=True)
    monkeypatch.setattr(trainer, "compute", lambda **batches: returned)
    with pytest.raises(TypeError, match=rf"compute\(\) of Consistency must return its losses by name.*{message}"):
        trainer.fit()


class Projected(Consistency):
    """Has its own module and optimiser."""

    def __init__(self, *, named: bool) -> None:
        super().__init__(tiny_model(), together=True)
        self.named, self.projection = named, nn.Conv2d(7, 7, 1)
        self.optimizers["projection"] = torch.optim.Adam(self.projection.parameters(), lr=0.1)

    def modules(self) -> dict[str, nn.Module]:
        return {**super().modules(), **({"projection": self.projection} if self.named else {})}

    def compute(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        loss = entropy_loss(self.projection(self.predict(target).logits))
        self.backward(loss)
        return {"entropy": loss}


def test_weights_of_ones_own_must_be_among_the_modules_that_are_saved() -> None:
    with pytest.raises(ValueError, match=r"optimizers\['projection'\] moves weights .* modules\(\) does not name"):
        Projected(named=False).fit()
    trainer = Projected(named=True)
    trainer.fit()
    assert trainer.optimizers["projection"].param_groups[0]["lr"] == 0.1  # the rate of the first step


class SourceOnly(Consistency):
    """Has no target."""

    domains = ("source",)

    def __init__(self, **settings: Any) -> None:
        config = TrainerConfig(max_steps=1, precision="float32", **settings)
        Trainer.__init__(self, tiny_model(), config, val=Scenes(1), device="cpu", progress=False)
        self.check_inputs()

    def fixed_datasets(self) -> dict[str, SampleDataset]:
        return {"source": Scenes(2)}

    datasets = fixed_datasets

    def compute(self, source: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        losses: dict[str, Tensor] = {}
        self.backward(self.supervised(self.predict(source), source, losses))
        return losses


def test_a_method_without_a_target_is_validated() -> None:
    assert SourceOnly().fit().final is not None


@pytest.mark.parametrize("settings", [{"batch_norm": "target"}, {"validation": "label_free"}])
def test_what_looks_at_the_target_needs_one(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"looks at the target's images: SourceOnly needs an attribute `target`"):
        SourceOnly(**settings)


def test_a_loss_goes_back_through_its_own_forward_pass_while_another_one_waits() -> None:
    ends = []
    for together in (False, True):
        trainer = Consistency(tiny_model(), together=together)
        trainer.fit()
        ends.append(weights(trainer.model))
    for key, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][key], rtol=1e-5, atol=1e-7)


def test_a_second_loss_of_a_forward_pass_that_is_gone_is_refused_and_not_lost() -> None:
    class Twice(Consistency):
        def compute(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # type: ignore[override]
            seen = self.predict(source)
            self.backward(cross_entropy(seen.logits, source["label"]))
            self.backward(entropy_loss(seen.logits))
            return {}

    with pytest.raises(RuntimeError, match=r"two losses of one forward pass .* call backward once, with their sum"):
        Twice(tiny_model(), together=True).fit()


def test_depth_may_come_from_a_frozen_network() -> None:
    class Guided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.guide = tiny_model(depth_head=None), tiny_model(1).requires_grad_(False)

        def forward(self, image: Tensor) -> SegDepthOutput:
            return SegDepthOutput(self.network(image).logits, self.guide(image).inverse_depth)

    model = Guided()
    before = weights(model)
    trained(model, depth_weight=0.0)
    for key, value in model.named_parameters():
        assert torch.equal(value, before[key]) == key.startswith("guide"), key


def test_what_has_the_size_of_the_image_is_gone_before_the_backward_pass_of_the_network() -> None:
    scenes = Scenes(2)
    trainer = DAFTrainer(tiny_model(), scenes, scenes, DAFConfig(**SETTINGS), device="cpu", progress=False)
    output = trainer.predict(collate(scenes.samples))
    nodes, seen = [output.logits.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
    assert {type(node).__name__ for node in seen} == {"UpsampleBilinear2DBackward0", "AccumulateGrad"}


def test_an_output_that_no_loss_reaches_is_dropped_after_the_step() -> None:
    trainer = trained(tiny_model(), adversarial_weight=0.0)
    assert not trainer.execution._cuts


# Checkpointing --------------------------------------------------------------------------------------------------------


def test_checkpointing_changes_no_bit_of_the_published_blocks() -> None:
    settings: dict[str, Any] = {"fusion": "entropy", "depth_weight": 0.0}
    expected = weights(trained(shallow_caffe(), **settings).model)
    for checkpointing in ("norms", "all"):
        model, calls = shallow_caffe(), []
        model.backbone.layer1[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(None))  # type: ignore[union-attr,operator,index,misc]
        ours = trained(model, checkpointing=checkpointing, **settings).model
        assert_same_weights(weights(ours), expected)
        assert len(calls) == 2 + 2 * 2 * 2  # two checks of the data; then two domains in two steps, each computed twice


def test_checkpointing_changes_no_bit_of_a_timm_network() -> None:
    expected = weights(trained(tiny_model()).model)
    assert_same_weights(weights(trained(tiny_model(), checkpointing="all").model), expected)


def test_checkpointing_ends_with_each_step() -> None:
    model = shallow_caffe()
    trainer = DAFTrainer(
        model,
        Scenes(2),
        Scenes(2),
        DAFConfig(**SETTINGS, fusion="entropy", depth_weight=0, checkpointing="all"),
        device="cpu",
        progress=False,
    )
    during: list[str] = []
    model.backbone.register_forward_pre_hook(lambda backbone, _: during.append(backbone._checkpointing))  # type: ignore[union-attr,operator]
    batch = collate(Scenes(2).samples)
    trainer.step(source=batch, target=batch)
    assert during == ["all", "all"]
    assert model.backbone._checkpointing == "none"  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("checkpointing", ["norms", "all"])
def test_the_published_blocks_are_compiled_with_checkpointing(checkpointing: Any) -> None:
    backbone, image = shallow_caffe().backbone.eval(), torch.rand(1, 3, 33, 33)  # type: ignore[attr-defined]
    plain = backbone(image)
    backbone.set_checkpointing(checkpointing)
    for ours, theirs in zip(torch.compile(backbone, backend="eager")(image), plain, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_checkpointing_that_a_network_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="'none' and 'all', not 'norms'"):
        trained(tiny_model(), checkpointing="norms")

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, CLASSES, 1)

        def forward(self, image: Tensor) -> SegDepthOutput:
            return SegDepthOutput(self.conv(image), None)

    with pytest.raises(ValueError, match="Plain has no set_checkpointing"):
        trained(Plain(), checkpointing="all", fusion="entropy")


# The sum of dilated convolutions --------------------------------------------------------------------------------------


def test_gradients_of_the_dilated_sum_are_those_of_its_convolutions() -> None:
    torch.manual_seed(0)
    head = ASPPv2(5, 3, dilations=(1, 3)).double()
    features = torch.randn(2, 5, 7, 9, dtype=torch.float64, requires_grad=True)
    ours, plain = head(features), sum_of_dilated(features, *head._arguments())
    assert type(ours.grad_fn).__name__ == f"{DilatedSum.__name__}Backward"
    assert torch.equal(ours, plain)
    inputs, gradient = [features, *head.parameters()], torch.randn_like(ours)
    pairs = zip(torch.autograd.grad(ours, inputs, gradient), torch.autograd.grad(plain, inputs, gradient), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(head(features), plain)


# Precision, compilation, determinism ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_near_float32(precision: str) -> None:
    full = trained(tiny_model())
    half = trained(tiny_model(), precision=precision)
    assert half.scaler.is_enabled() == (precision == "float16")
    start, ours, theirs = (weights(model) for model in (tiny_model(), half.model, full.model))
    moved = torch.cat([(theirs[k] - start[k]).flatten() for k in start if start[k].is_floating_point()])
    error = torch.cat([(ours[k] - theirs[k]).flatten() for k in start if start[k].is_floating_point()])
    assert 0 < error.norm() < 0.2 * moved.norm()


def test_float16_skips_a_step_whose_gradients_overflow() -> None:
    trainer = trained(tiny_model(), precision="float16", max_steps=3)
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 2.0**100})
    scenes = Scenes(2)
    trainer.step(source=collate(scenes.samples), target=collate(scenes.samples))
    assert_same_weights(before, dict(trainer.model.named_parameters()))
    assert trainer.scaler.get_scale() == 2.0**99


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])  # the second compiles C++ for minutes
def test_a_compiled_network_trains_as_an_eager_one(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        ours = trained(tiny_model(), compile=True)
    assert ours.execution._compiled is not None
    theirs = weights(trained(tiny_model()).model)
    for key, value in weights(ours.model).items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compilation_moves_no_weight_that_no_loss_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled graph gives zero gradients where an eager one gives None; weight decay would change those weights."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    torch.manual_seed(0)
    scenes, moved = Scenes(2), []
    for compiled in (False, True):
        config = ISLConfig(max_steps=2, batch_size=2, accumulation=2, precision="float32", compile=compiled)
        head = DepthAttentionHead((4, 8))
        gate = DepthGate(head.out_channels, 8)
        model = DepthSegmenter(FewLayers(), ASPPv2(8, CLASSES, dilations=(1,)), depth_head=head, gate=gate)
        trainer = ISLTrainer(model, scenes, config, device="cpu", progress=False)
        before = weights(model)
        for _ in range(2):
            trainer.step(target=collate(scenes.samples))
        moved.append({key for key, value in weights(model).items() if not torch.equal(value, before[key])})
    assert moved[0] == moved[1]
    assert any(key.startswith("depth_head") for key in before.keys() - moved[0])
    assert any(key.startswith("depth_head") for key in moved[0])  # through the gate


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_every_size_is_compiled_once_and_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        assert not any(isinstance(each, torch.SymInt) for each in inputs)
        sizes.extend([*each.shape[-2:]] for each in inputs if isinstance(each, Tensor) and each.shape[:2] == (1, 3))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    source, target = Scenes(1), Scenes(1, (48, 56), seed=1)
    model = DepthSegmenter(FewLayers(), ASPPv2(8, CLASSES, dilations=(1,)))
    config = DAFConfig.advent(**{**SETTINGS, "batch_size": 1, "depth_weight": 0.0}, compile=True)
    trainer = DAFTrainer(model, source, target, config, device="cpu", progress=False)
    for _ in range(2):
        trainer.step(source=collate(source.samples), target=collate(target.samples))
    assert sizes == [[32, 40], [48, 56]]


def test_determinism_is_for_the_step_alone() -> None:
    seen: list[tuple[int, bool]] = []

    class Watched(DAFTrainer):
        def compute(self, **batches: Any) -> Any:
            seen.append((torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark))
            return super().compute(**batches)

    scenes = Scenes(1)
    for deterministic in (True, False):
        config = DAFConfig(max_steps=1, precision="float32", deterministic=deterministic)
        trainer = Watched(tiny_model(), scenes, scenes, config, device="cpu", progress=False)
        trainer.step(source=collate(scenes.samples), target=collate(scenes.samples))
    assert seen == [(1, False), (0, True)]
    assert (torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark) == (0, False)


# Batches and optimisers -----------------------------------------------------------------------------------------------


def test_a_cpu_takes_batches_as_they_come() -> None:
    batches = [{"target": collate(Scenes(1, seed=seed).samples)} for seed in range(3)]
    for before, after in zip(batches, prefetched(batches, torch.device("cpu"), torch.float32), strict=True):
        assert after is before


def test_optimisers_on_a_cpu_are_not_fused() -> None:
    assert fused(tiny_model().parameters()) is None


def test_a_fused_optimiser_that_is_told_to_skip_its_first_step_goes_on_from_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("depthaware_uda.trainers.step.optimizers.fused", lambda parameters: True)
    layers = [nn.Linear(3, 2), nn.Linear(3, 2)]
    layers[1].load_state_dict(layers[0].state_dict())
    for layer, skips in zip(layers, (True, False), strict=True):
        optimizer = model_optimizer(layer, DAFConfig(precision="float32"))
        for skip in (True, False, False) if skips else (False, False):
            for parameter in layer.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.grad_scale, optimizer.found_inf = None, torch.tensor(float(skip))  # type: ignore[attr-defined]
            optimizer.step()
    assert_same_weights(layers[0].state_dict(), layers[1].state_dict())
