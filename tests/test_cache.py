"""The cache: the same samples as the data set, decoded once, however it is filled and however often interrupted."""

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision import tv_tensors

from depthaware_uda.data import (
    Augmented,
    CamVid,
    SegmentationFolder,
    cache_layout,
    cached,
    collate,
    resize,
    strong_augmentation,
)
from depthaware_uda.data.masks import DepthMask, LabelMask
from depthaware_uda.labels import get_label_space
from depthaware_uda.types import Sample

from .conftest import ListDataset, make_sample, save

COUNT = 7


class Drawings:
    """Seven pictures of 12 x 16 with label and depth; a file records every read, across processes."""

    def __init__(self, folder: Path, *, die_at: int | None = None) -> None:
        self.names = [f"town/{index}.png" for index in range(COUNT)]
        self.label_space = get_label_space("common7")
        self.reads, self.die_at = folder / "reads.txt", die_at

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Sample:
        if index == self.die_at and self.read().count(index) == 2:  # all are read twice before
            os._exit(17)
        with self.reads.open("a") as file:
            file.write(f"{index}\n")
        pixels = np.random.default_rng(index).integers(0, 256, (3, 12, 16))
        depth = np.random.default_rng(index).integers(1, 65536, (1, 12, 16)) / 100
        depth[0, 0, 0] = np.nan
        return Sample(
            image=tv_tensors.Image(torch.from_numpy(pixels).float() / 255),
            label=LabelMask(torch.from_numpy(pixels[0] % 7)),
            depth=DepthMask(torch.from_numpy(depth).float()),
            name=self.names[index],
        )

    def read(self) -> list[int]:
        return sorted(map(int, self.reads.read_text().split()))


def assert_same(ours: Sample, theirs: Sample) -> None:
    assert ours.keys() == theirs.keys()
    assert ours["name"] == theirs["name"]
    for key in ("image", "label", "depth"):
        if key in theirs:
            mine, other = ours[key], theirs[key]  # type: ignore[literal-required]
            assert type(mine) is type(other)
            assert mine.dtype == other.dtype
            assert torch.equal(mine.nan_to_num(-1), other.nan_to_num(-1))


def test_the_same_samples_bit_by_bit(tmp_path: Path) -> None:
    drawings = Drawings(tmp_path)
    ours = cached(drawings, tmp_path / "cache", progress=False)
    assert len(ours) == COUNT
    assert ours.names == drawings.names
    assert ours.label_space == drawings.label_space
    for index in range(-COUNT, COUNT):
        assert_same(ours[index], drawings[index % COUNT])
    with pytest.raises(IndexError, match="index 7 is out of range for 7 cached samples"):
        ours[COUNT]


def test_resized_as_the_transform_resizes(tmp_path: Path) -> None:
    drawings = Drawings(tmp_path)
    ours, theirs = cached(drawings, tmp_path / "cache", (6, 10), progress=False), Augmented(drawings, resize((6, 10)))
    for index in range(COUNT):
        assert torch.equal(ours[index]["label"], theirs[index]["label"])
        assert torch.equal(ours[index]["depth"].nan_to_num(-1), theirs[index]["depth"].nan_to_num(-1))
        # Images are stored in 8 bits: off by at most half a step.
        assert (ours[index]["image"] - theirs[index]["image"]).abs().max() <= 0.5001 / 255


def test_every_centimetre_of_depth_survives(tmp_path: Path) -> None:
    centimetres = torch.arange(1, 65536).reshape(1, 255, 257)
    sample = Sample(image=torch.zeros(3, 255, 257), depth=centimetres / 100, name="a")
    depth = cached(ListDataset([sample]), tmp_path, progress=False)[0]["depth"]
    assert torch.equal(depth.mul(100).round().long().as_subclass(torch.Tensor), centimetres)
    # Depth beyond 655.35 m, or not in metres, needs the other format.
    sample["depth"] = torch.linspace(0, 2000, 255 * 257).reshape(1, 255, 257)
    kept = cached(ListDataset([sample]), tmp_path, depth_format="float32", progress=False)[0]["depth"]
    assert torch.equal(kept.as_subclass(torch.Tensor), sample["depth"])


def test_the_second_call_decodes_nothing_but_three_probes(tmp_path: Path) -> None:
    drawings = Drawings(tmp_path)
    cached(drawings, tmp_path / "cache", progress=False)
    drawings.reads.unlink()
    cached(drawings, tmp_path / "cache", progress=False)
    assert drawings.read() == [0, 3, 6]


def test_it_says_what_it_takes_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawings = Drawings(tmp_path)
    layout = cache_layout(drawings, (6, 8))
    # Per pixel: 3 bytes of image, 1 of label, 2 of depth; per sample: a checksum of 4 bytes.
    assert layout.bytes == COUNT * (6 * 8 * 6 + 4)
    assert str(layout) == "7 samples of 6 x 8 (image, label, depth): 2.0 kB"
    assert not list(tmp_path.glob("cache*"))
    ours = cached(drawings, tmp_path / "cache", (6, 8))
    assert f"caching {layout} in {ours.folder}" in capsys.readouterr().out
    assert sum(path.stat().st_size for path in ours.folder.glob("*.bin")) == layout.bytes
    assert cache_layout(drawings, depth_format="float32").bytes == COUNT * (12 * 16 * 8 + 4)
    assert cache_layout(ListDataset([make_sample(full=False)])).bytes == 8 * 12 * 3 + 4


def test_too_full_a_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(OSError, match=r"the cache takes 8\.1 kB, but the disk of .* has 1\.0 kB left"):
        cached(Drawings(tmp_path), tmp_path / "cache", progress=False)
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_of_a_loader_read_and_fill_it(tmp_path: Path, workers: int) -> None:
    drawings = Drawings(tmp_path)
    ours = cached(drawings, tmp_path / "cache", num_workers=workers, progress=False)
    loader = DataLoader(ours, batch_size=3, num_workers=workers, collate_fn=collate)  # type: ignore[arg-type]
    batches = list(loader)
    assert [name for batch in batches for name in batch["name"]] == drawings.names
    assert torch.equal(batches[0]["image"][1], drawings[1]["image"].as_subclass(torch.Tensor))


def fill(folder: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    ours = cached(Drawings(folder), folder / "cache", progress=False)
    assert torch.equal(ours[COUNT - 1]["image"], Drawings(folder)[COUNT - 1]["image"])


def test_several_processes_fill_one_cache_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=fill, args=(tmp_path, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    ours = cached(Drawings(tmp_path), tmp_path / "cache", progress=False)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    for index in range(COUNT):
        assert_same(ours[index], Drawings(tmp_path)[index])


def die(folder: Path, at: int) -> None:
    cached(Drawings(folder, die_at=at), folder / "cache", progress=False)


def cut_off(folder: Path) -> Path:
    """The folder of a cache whose process died while filling it, at sample 4."""
    process = multiprocessing.get_context("fork").Process(target=die, args=(folder, 4))
    process.start()
    process.join(60)
    assert process.exitcode == 17
    (cache,) = (folder / "cache").iterdir()
    assert not (cache / "cache.json").exists()
    return cache


def test_a_cache_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    cache = cut_off(tmp_path)
    done = np.flatnonzero(np.fromfile(cache / "checksums.bin", np.uint32)).tolist()
    assert 4 not in done
    drawings = Drawings(tmp_path)
    drawings.reads.unlink()
    ours = cached(drawings, tmp_path / "cache", progress=False)
    assert drawings.read() == sorted([0, 3, 6, *(index for index in range(COUNT) if index not in done)])
    for index in range(COUNT):
        assert_same(ours[index], drawings[index])


def test_a_sample_that_was_half_written_is_written_anew(tmp_path: Path) -> None:
    ours = cached(Drawings(tmp_path), tmp_path / "cache", progress=False)
    (ours.folder / "cache.json").unlink()
    with (ours.folder / "image.bin").open("r+b") as file:  # as after a power cut: a checksum without pixels
        file.seek(2 * 3 * 12 * 16)
        file.write(bytes(100))
    drawings = Drawings(tmp_path)
    drawings.reads.unlink()
    again = cached(drawings, tmp_path / "cache", progress=False)
    assert drawings.read() == [0, 2, 3, 6]
    assert_same(again[2], drawings[2])


def test_a_file_that_was_cut_short_is_filled_again(tmp_path: Path) -> None:
    ours = cached(Drawings(tmp_path), tmp_path / "cache", progress=False)
    folder = ours.folder
    os.truncate(folder / "depth.bin", 1000)
    again = cached(Drawings(tmp_path), tmp_path / "cache", progress=False)
    assert again.folder == folder
    for index in range(COUNT):
        assert_same(again[index], Drawings(tmp_path)[index])


def test_a_source_file_that_changed_is_decoded_anew(
    camvid_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3, 5):
        for folder in ("images", "labels"):
            shutil.copy(camvid_copy / f"train/{folder}/000.png", camvid_copy / f"train/{folder}/{number:03d}.png")
    first = cached(CamVid(camvid_copy), tmp_path / "cache", progress=False)
    save(camvid_copy / "train" / "images" / "001.png", np.full((4, 6, 3), 99, np.uint8))  # none of the three probes
    second = cached(CamVid(camvid_copy), tmp_path / "cache")
    assert second.folder != first.folder
    assert (second[1]["image"] * 255).round().unique().tolist() == [99]
    message = capsys.readouterr().out
    assert f"the source changed since {first.folder} was written" in message
    assert "remove that folder to free" in message


def test_a_changed_file_is_noticed_in_parts_of_data_sets(camvid_copy: Path, tmp_path: Path) -> None:
    for number in range(3, 5):
        for folder in ("images", "labels"):
            shutil.copy(camvid_copy / f"train/{folder}/000.png", camvid_copy / f"train/{folder}/{number:03d}.png")
    camvid = CamVid(camvid_copy)
    joined = ConcatDataset([Subset(camvid, [0, 1]), Subset(camvid, [2, 3, 4])])  # type: ignore[arg-type,list-item]
    first = cached(joined, tmp_path / "cache", progress=False)  # type: ignore[arg-type]
    save(camvid_copy / "train" / "images" / "001.png", np.full((4, 6, 3), 99, np.uint8))  # none of the three probes
    second = cached(joined, tmp_path / "cache", progress=False)  # type: ignore[arg-type]
    assert second.folder != first.folder
    assert (second[1]["image"] * 255).round().unique().tolist() == [99]


def test_relative_depth_stays_relative(camvid_copy: Path, tmp_path: Path) -> None:
    images = camvid_copy / "train" / "images"
    for encoding, is_metric in (("centimetres", True), ("relative_inverse", False)):
        dataset = SegmentationFolder(images, label_space="common7", depth_encoding=encoding)
        assert cached(dataset, tmp_path / "cache", progress=False).is_metric == is_metric


def test_random_transforms_are_not_frozen_into_a_cache(tmp_path: Path) -> None:
    flipping = Augmented(Drawings(tmp_path), strong_augmentation((12, 16)))
    with pytest.raises(ValueError, match=r"'town/0\.png' is another sample each time it is read.*around the cache"):
        cached(flipping, tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()


def test_flips_that_a_few_readings_do_not_show_are_noticed(tmp_path: Path) -> None:
    class Flipped(Drawings):
        def __getitem__(self, index: int) -> Sample:
            sample, reads = super().__getitem__(index), self.read()
            flip = len(reads) > 9 and len(reads) % 2  # not flipped at first
            return Sample(**{**sample, "image": sample["image"].flip(-1)}) if flip else sample

    with pytest.raises(ValueError, match="is another sample each time it is read"):
        cached(Flipped(tmp_path), tmp_path / "cache", progress=False)


def test_another_label_map_is_another_cache(camvid_copy: Path, tmp_path: Path) -> None:
    def folder(street: int) -> SegmentationFolder:
        ids = {**dict.fromkeys(range(12), 255), 3: street}
        root = camvid_copy / "train"
        return SegmentationFolder(root / "images", root / "labels", label_space="common7", label_map=ids)

    assert 0 in cached(folder(0), tmp_path / "cache", progress=False)[0]["label"]
    assert 1 in cached(folder(1), tmp_path / "cache", progress=False)[0]["label"]
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_label_map_of_an_id_that_the_probes_lack_is_another_cache(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / "images" / f"{index}.png", np.full((4, 6, 3), index, np.uint8))
        save(tmp_path / "labels" / f"{index}.png", np.full((4, 6), index == 1, np.uint8))  # the probes are 0, 2 and 4
    for rare in (3, 5):
        ids = {0: 0, 1: rare}
        dataset = SegmentationFolder(tmp_path / "images", tmp_path / "labels", label_space="common7", label_map=ids)
        for source in (dataset, Augmented(dataset, dict)):  # type: ignore[arg-type]
            assert cached(source, tmp_path / "cache", progress=False)[1]["label"].unique().tolist() == [rare]


def test_samples_that_differ_are_named(tmp_path: Path) -> None:
    samples = [make_sample(f"{index}.png", height=8) for index in range(5)]
    samples[1] = make_sample("1.png", height=9)
    with pytest.raises(ValueError, match=r"'0.png' is image 8 x 12, .*'1.png' is image 9 x 12.*give cached\(\) a size"):
        cached(ListDataset(samples), tmp_path, progress=False)
    samples[1] = make_sample("1.png", full=False)
    with pytest.raises(ValueError, match="drop what only some samples have"):
        cached(ListDataset(samples), tmp_path, progress=False)


def test_a_damaged_source_is_named_and_the_rest_is_kept(camvid_copy: Path, tmp_path: Path) -> None:
    for number in range(3, 5):
        for folder in ("images", "labels"):
            shutil.copy(camvid_copy / f"train/{folder}/000.png", camvid_copy / f"train/{folder}/{number:03d}.png")
    whole = (camvid_copy / "train" / "images" / "001.png").read_bytes()
    (camvid_copy / "train" / "images" / "001.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"001\.png: cannot be read as an image"):
        cached(CamVid(camvid_copy), tmp_path, progress=False)
    (camvid_copy / "train" / "images" / "001.png").write_bytes(whole)
    assert len(cached(CamVid(camvid_copy), tmp_path, progress=False)) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 4)}, r"size must be \(height, width\)"),
        ({"num_workers": -1}, "num_workers must be a whole number of at least 0"),
        ({"depth_format": "millimetres"}, "depth_format must be one of"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cached(Drawings(tmp_path), tmp_path / "cache", progress=False, **arguments)
    with pytest.raises(ValueError, match="empty data set"):
        cached(ListDataset([]), tmp_path, progress=False)
