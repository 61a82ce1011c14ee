"""MiniCity: determinism, geometry against explicit ray arithmetic, classes, statistics of both styles, arguments."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthaware_uda.data.minicity import MiniCity, Rendering, render
from depthaware_uda.data.minicity.camera import Camera, Sensor, develop
from depthaware_uda.data.minicity.mesh import Material, MeshBuilder, Pose
from depthaware_uda.data.minicity.raycast import SKY, Hits, cast, perspective, sun_view
from depthaware_uda.data.minicity.render import make_scene, mirror, render_scene
from depthaware_uda.data.minicity.scene import Scene
from depthaware_uda.data.minicity.style import STYLES, StyleName
from depthaware_uda.data.minicity.textures import part_textures
from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.types import Sample

STYLE_NAMES: tuple[StyleName, ...] = ("synthetic", "real")
SMALL = (48, 80)
ROAD, SKY_CLASS = 0, 9


@pytest.fixture(scope="module")
def renderings() -> dict[str, list[Rendering]]:
    return {style: [render(3, index, style=style, size=SMALL) for index in range(16)] for style in STYLE_NAMES}


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Scene]]:
    return {style: [make_scene(3, index, style=style) for index in range(30)] for style in STYLE_NAMES}


def rays(camera: Camera, height: int, width: int) -> NDArray[np.float64]:
    """World direction of unit depth through every pixel's centre, computed explicitly: (H, W, 3)."""
    v, u = np.mgrid[0:height, 0:width] + 0.5
    focal = camera.focal * height
    right, down = (u - width / 2) / focal, (v - height / 2) / focal
    up = np.cos(camera.pitch) * -down + np.sin(camera.pitch)
    forward = np.cos(camera.pitch) + np.sin(camera.pitch) * down
    x = np.cos(camera.yaw) * right + np.sin(camera.yaw) * forward
    z = np.cos(camera.yaw) * forward - np.sin(camera.yaw) * right
    return np.stack([x, up, z], -1)


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_same_arguments_give_the_same_arrays(style: StyleName) -> None:
    first, second = (render(5, 17, style=style, size=SMALL) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.image.dtype == np.uint8
    assert first.image.shape == (*SMALL, 3)
    assert first.label.dtype == np.uint8
    assert first.label.shape == SMALL
    assert first.depth.dtype == np.float32
    assert first.depth.shape == SMALL


def test_seed_index_and_style_give_other_scenes() -> None:
    base = render(5, 17, style="synthetic", size=SMALL).image
    others = [
        render(6, 17, style="synthetic", size=SMALL),
        render(5, 18, style="synthetic", size=SMALL),
        render(5, 17, style="real", size=SMALL),
    ]
    for other in others:
        assert np.abs(base.astype(int) - other.image).mean() > 5


def test_all_classes_appear_in_both_worlds() -> None:
    for style in STYLE_NAMES:
        missing = set(range(16))
        for index in range(40):
            missing -= set(render(0, index, style=style, size=(40, 64)).label.ravel().tolist())
            if not missing:
                break
        assert not [get_label_space("cityscapes16").classes[index] for index in missing]


def test_depth_is_unknown_exactly_in_the_sky(renderings: dict[str, list[Rendering]]) -> None:
    for rendering in renderings["synthetic"] + renderings["real"]:
        np.testing.assert_array_equal(np.isnan(rendering.depth), rendering.label == SKY_CLASS)
        known = rendering.depth[~np.isnan(rendering.depth)]
        assert known.min() > 0.1
        assert known.max() < 500
        assert rendering.label.max() < 16


def test_road_depth_of_a_level_camera_is_height_times_focal_over_rows_below_the_horizon() -> None:
    scene = make_scene(0, 1, style="synthetic")
    scene = scene._replace(camera=scene.camera._replace(pitch=0.0, yaw=0.0))
    height = SMALL[0]
    rendering = render_scene(scene, SMALL, np.random.default_rng(0))
    row, column = np.nonzero(rendering.label == ROAD)
    expected = scene.camera.height * (scene.camera.focal * height) / (row + 0.5 - height / 2)
    assert len(row) > 200
    np.testing.assert_allclose(rendering.depth[row, column], expected, rtol=1e-4)


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_road_depth_follows_the_camera_pose(style: StyleName) -> None:
    for index in range(6):
        camera = make_scene(3, index, style=style).camera
        rendering = render(3, index, style=style, size=SMALL)
        direction = rays(camera, *SMALL)
        road = rendering.label == ROAD
        # The plane y = 0 seen from (0, height, 0); raised car parks are road 12 cm higher.
        expected = np.stack([(camera.height - level) / -direction[road][:, 1] for level in (0.0, 0.12)])
        error = np.abs(rendering.depth[road] - expected).min(0) / expected[0]
        assert error.max() < 1e-3


def quad_hits(builder: MeshBuilder, camera: Camera, height: int, width: int) -> Hits:
    hits = Hits(np.full((height, width), SKY, np.int32), np.full((height, width), 1e-4, np.float32))
    faces = builder.build()
    eye = np.array([0, camera.height, 0], np.float32)
    cast(faces, perspective(faces, eye, camera.ray_matrix(height, width), (height, width)), hits)
    return hits


@pytest.mark.parametrize("half", [0.1, 3.0])
def test_a_facing_sheet_covers_the_pixels_it_should(half: float) -> None:
    builder = MeshBuilder()
    builder.palette((1, 1, 1))
    builder.place(Pose(0.0, 1.0, 10.0))
    builder.upright(2 * half, -half, half, 0, 0)
    camera = Camera(0.0, 1.0, 0.0, 0.0, 1.0)
    hits = quad_hits(builder, camera, 100, 120)
    v, u = np.mgrid[0:100, 0:120] + 0.5
    expected = (np.abs(u - 60) <= 100 * half / 10) & (np.abs(v - 50) <= 100 * half / 10)
    np.testing.assert_array_equal(hits.face == 0, expected)
    np.testing.assert_allclose(1 / hits.nearness[expected], 10, rtol=1e-5)


def test_the_nearer_face_wins_and_backs_are_not_seen() -> None:
    builder = MeshBuilder()
    builder.palette((1, 1, 1))
    for distance, size in ((8.0, 1.0), (5.0, 0.5), (12.0, 3.0)):
        builder.place(Pose(0.0, 1.0, distance))
        builder.upright(2 * size, -size, size, 0, 0)
    builder.place(Pose(0.0, 1.0, 3.0, np.pi))
    builder.quad(((-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)), 0, 0)
    hits = quad_hits(builder, Camera(0.0, 1.0, 0.0, 0.0, 1.0), 100, 100)
    assert hits.face[50, 50] == 1
    assert hits.face[50, 50 + 11] == 0
    assert hits.face[50, 50 + 20] == 2
    assert hits.face[50, 80] == SKY


def test_a_wall_that_passes_beside_the_camera_is_cut_at_the_near_plane() -> None:
    builder = MeshBuilder()
    builder.palette((1, 1, 1))
    builder.place(Pose(2.0, 0.0, 0.0))
    builder.quad(((0, 0, 50), (0, 0, -50), (0, 9, -50), (0, 9, 50)), 0, 0, two_sided=True)
    hits = quad_hits(builder, Camera(0.0, 1.0, 0.0, 0.0, 1.0), 60, 60)
    column = np.arange(60) + 0.5 - 30
    # At x = 2 m a ray through `column` meets the wall at depth 2 * focal / column.
    expected = 2 * 60 / column[35:]
    np.testing.assert_allclose(1 / hits.nearness[29, 35:], expected, rtol=1e-4)
    assert (hits.face[:, :30] == SKY).all()


def test_small_and_large_faces_are_cast_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(2, 4, style="synthetic")
    shape = (60, 90)
    projection = perspective(
        scene.faces, np.array([0, scene.camera.height, 0], np.float32), scene.camera.ray_matrix(*shape), shape
    )
    results = []
    for limit in (0, 1 << 30):
        monkeypatch.setattr("depthaware_uda.data.minicity.raycast._SMALL", limit)
        hits = Hits(np.full(shape, SKY, np.int32), np.full(shape, 1e-4, np.float32))
        cast(scene.faces, projection, hits)
        results.append(hits)
    assert np.mean(results[0].face != results[1].face) < 0.002
    close = np.isclose(results[0].nearness, results[1].nearness, rtol=1e-3)
    assert close.mean() > 0.998


def test_the_sun_sees_the_height_of_a_roof() -> None:
    builder = MeshBuilder()
    builder.palette((1, 1, 1))
    builder.box((-2, 0, 8), (2, 3, 12), 0, 0)
    faces = builder.build()
    to_sun = np.array([0.0, 1.0, 1e-3])
    projection, matrix = sun_view(faces, to_sun, np.array([0.0, 0.0, 10.0]), 20.0, 80)
    hits = Hits(np.full((80, 80), SKY, np.int32), np.full((80, 80), -1e3, np.float32))
    cast(faces, projection, hits)
    column, row, level = matrix[:, :3] @ np.array([0.0, 3.0, 10.0], np.float32) + matrix[:, 3]
    assert hits.nearness[round(float(row)), round(float(column))] == pytest.approx(float(level), abs=0.02)
    assert (hits.face >= 0).sum() == pytest.approx(16 * 16, abs=40)


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_another_size_shows_the_same_scene(style: StyleName) -> None:
    coarse = render(1, 2, style=style, size=(48, 80))
    # With a factor of 3, the centres of coarse pixels are also centres of fine ones.
    fine = render(1, 2, style=style, size=(144, 240))
    label, depth = fine.label[1::3, 1::3], fine.depth[1::3, 1::3]
    same = label == coarse.label
    assert same.mean() > 0.995
    both = same & (label != SKY_CLASS)
    assert np.isclose(depth[both], coarse.depth[both], rtol=1e-3).mean() > 0.995
    difference = np.abs(fine.image.reshape(48, 3, 80, 3, 3).mean((1, 3)) - coarse.image).mean()
    assert difference < 14


def test_the_worlds_differ(renderings: dict[str, list[Rendering]], scenes: dict[str, list[Scene]]) -> None:
    def fine_contrast(items: list[Rendering]) -> float:
        # Without noise the sky is smooth, so differences between neighbours there are noise.
        values = []
        for item in items:
            step = np.abs(np.diff(item.image.astype(float).mean(-1), axis=1))
            sky = (item.label[:, 1:] == SKY_CLASS) & (item.label[:, :-1] == SKY_CLASS)
            if sky.sum() > 50:
                values.append(np.median(step[sky]))
        return float(np.mean(values))

    assert fine_contrast(renderings["real"]) > fine_contrast(renderings["synthetic"]) + 0.5
    heights = {style: [scene.camera.height for scene in scenes[style]] for style in STYLE_NAMES}
    assert np.std(heights["synthetic"]) > np.std(heights["real"])
    assert STYLES["real"].number != STYLES["synthetic"].number


def test_part_textures_fit_their_palettes() -> None:
    textures = part_textures()
    assert textures.parts.max() < 16
    assert sorted(i for family in textures.families.values() for i in family) == list(range(len(textures.parts)))
    # A rider's texture holds both the rider (below 8) and the vehicle (8 and above).
    for index in textures.families["cyclist_side"]:
        parts = set(np.unique(textures.parts[index]))
        assert any(0 < p < 8 for p in parts)
        assert any(p >= 8 for p in parts)
    assert len(Material) == 5


def test_an_ideal_sensor_applies_only_the_tone_curve() -> None:
    light = np.full((4, 4, 3), 0.25, np.float32)
    image = develop(light, Sensor(gamma=0.5), np.random.default_rng(0))
    assert (image == 128).all()


def test_metering_exposes_any_light_alike() -> None:
    for level in (0.05, 0.8, 3.0):
        light = np.full((4, 4, 3), level, np.float32)
        image = develop(light, Sensor(gamma=1.0, metering=0.5), np.random.default_rng(0))
        assert (image == 128).all()


def test_glare_brightens_the_dark_beside_the_bright() -> None:
    light = np.zeros((40, 40, 3), np.float32)
    light[:20] = 0.8
    plain = develop(light, Sensor(gamma=1.0), np.random.default_rng(0))
    scattered = develop(light, Sensor(gamma=1.0, glare=0.25), np.random.default_rng(0))
    assert (plain[20:] == 0).all()
    assert (scattered[20] > 10).all()  # below 0.8 * 0.25 / 2 * 255 = 26, half of the scattered light
    assert (scattered[18:20] < plain[18:20]).all()
    assert (scattered[-5:] == 0).all()
    even = np.full((40, 40, 3), 0.5, np.float32)
    assert (develop(even, Sensor(gamma=1.0, glare=0.25), np.random.default_rng(0)) == 128).all()


def test_a_wet_road_reflects_what_stands_above_it() -> None:
    # Rows of rays that rise 0.45, 0.35 ... -0.45 per metre ahead; red above the horizon, a grey road below it.
    rise = 0.45 - 0.1 * np.arange(10, dtype=np.float32)
    directions = np.zeros((10, 3, 3), np.float32)
    directions[..., 1], directions[..., 2] = rise[:, None], 1
    light = np.zeros((10, 3, 3), np.float32)
    light[:5, :, 0] = 1
    light[5:] = 0.4
    road = np.zeros((10, 3), bool)
    road[5:, 1] = True
    mirror(light, road, directions, np.random.default_rng(0))
    np.testing.assert_array_equal(light[5:, [0, 2]], np.float32(0.4))  # only the road
    cosine = 0.45 / np.sqrt(1 + 0.45**2)
    share = 0.02 + 0.7 * (1 - cosine) ** 5
    np.testing.assert_allclose(
        light[9, 1], [share + (1 - share) * 0.2, (1 - share) * 0.2, (1 - share) * 0.2], rtol=1e-5
    )
    assert (np.diff(light[5:, 1, 0]) < 0).all()  # more for flatter rays


def test_rain_falls_in_the_real_world_alone(scenes: dict[str, list[Scene]]) -> None:
    wet = {style: [scene.light.wet for scene in scenes[style]] for style in STYLE_NAMES}
    assert not any(wet["synthetic"])
    assert 2 < sum(wet["real"]) < 13


def test_sample_leaves() -> None:
    dataset = MiniCity(12, style="real", seed=7, size=SMALL)
    sample = dataset[-1]
    assert isinstance(sample["image"], tv_tensors.Image)
    assert isinstance(sample["label"], tv_tensors.Mask)
    assert isinstance(sample["depth"], tv_tensors.Mask)
    assert sample["image"].shape == (3, *SMALL)
    assert sample["image"].dtype == torch.float32
    assert 0 <= sample["image"].min() <= sample["image"].max() <= 1
    assert sample["label"].shape == SMALL
    assert sample["label"].dtype == torch.int64
    assert sample["depth"].shape == (1, *SMALL)
    assert sample["depth"].dtype == torch.float32
    assert sample["name"] == "minicity/real/7/000011" == dataset.names[-1]
    assert len(dataset) == len(dataset.names) == len(set(dataset.names)) == 12
    expected = render(7, 11, style="real", size=SMALL)
    np.testing.assert_array_equal((sample["image"].permute(1, 2, 0) * 255).round().byte().numpy(), expected.image)


def test_common7_groups_the_classes() -> None:
    fine, coarse = MiniCity(3, size=SMALL), MiniCity(3, size=SMALL, labels="common7")
    assert coarse.label_space.name == "common7"
    label16, label7 = fine[2]["label"], coarse[2]["label"]
    sky7 = coarse.label_space.index("sky")
    assert torch.equal(label16 == SKY_CLASS, label7 == sky7)
    assert torch.equal(label16 < 2, label7 == coarse.label_space.index("flat"))


def test_classes_of_your_own() -> None:
    space = LabelSpace("ground", ("other", "ground"), ((0, 0, 0), (128, 64, 128)))
    ground = MiniCity(1, size=SMALL, labels=space, label_map={**dict.fromkeys(range(16), 0), 0: 1, 9: 255, 255: 255})
    road, own = MiniCity(1, size=SMALL)[0]["label"], ground[0]["label"]
    assert ground.label_space is space
    assert torch.equal(own == 1, road == ROAD)
    assert torch.equal(own == 255, road == SKY_CLASS)


def test_depth_is_optional_and_transforms_move_all_leaves() -> None:
    assert "depth" not in MiniCity(1, size=SMALL, depth=False)[0]
    plain = MiniCity(1, size=SMALL)[0]
    flipped = MiniCity(1, size=SMALL, transform=v2.RandomHorizontalFlip(p=1))[0]
    assert torch.equal(flipped["image"], plain["image"].flip(-1))
    assert torch.equal(flipped["label"], plain["label"].flip(-1))
    assert torch.equal(flipped["depth"].nan_to_num(), plain["depth"].flip(-1).nan_to_num())


def test_out_of_range() -> None:
    dataset = MiniCity(2, size=(16, 16))
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"index {index} is out of range for MiniCity of length 2"):
            dataset[index]
    assert len(list(dataset)) == 2
    with pytest.raises(TypeError, match="float"):
        MiniCity(2, size=(16, 16))[1.7]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, r"length must be an integer of at least 1, got 0"),
        ({"length": 1.5}, r"length must be an integer of at least 1, got 1\.5"),
        ({"style": "cartoon"}, r"style must be one of \['synthetic', 'real'\], got 'cartoon'"),
        ({"size": (8, 80)}, r"size must be \(height, width\), two integers of at least 16, got \(8, 80\)"),
        ({"size": 96}, r"size must be .* got 96"),
        ({"size": (96.0, 160)}, r"size must be .* got \(96\.0, 160\)"),
        ({"seed": -1}, r"seed must be an integer of at least 0 and below 2 \*\* 32, got -1"),
        ({"seed": 2**32}, r"below 2 \*\* 32, got 4294967296"),
        ({"label_map": {0: 0}}, r"label_map: expected every class of MiniCity, \['sidewalk', 'building'"),
        ({"labels": "cityscapes"}, r"unknown label space 'cityscapes'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MiniCity(**arguments)


def _brighten(sample: Sample) -> Sample:
    sample["image"] = sample["image"] * 0.5
    return sample


@pytest.mark.parametrize("transform", [None, _brighten])
def test_pickling(transform: Callable[[Sample], Sample] | None) -> None:
    dataset = MiniCity(2, size=SMALL, transform=transform)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[1]["image"], dataset[1]["image"])
    assert copy.names == dataset.names


def test_worker_processes_give_the_same_samples() -> None:
    dataset = MiniCity(2, size=(16, 32))
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="fork")
    (batch,) = list(loader)
    assert torch.equal(batch["image"], torch.stack([dataset[0]["image"], dataset[1]["image"]]))
