"""Measure how large and how fast things are, beside what others publish or need.

``python benchmark.py inference --write docs/models.md`` measures the models and writes the table in that file;
``python benchmark.py train --write docs/training_speed.md`` trains beside a loop as torchvision's own;
``python benchmark.py results --write docs/results.md`` trains and scores all that is in that file, in hours;
``python benchmark.py data --write docs/data.md`` loads annotations as many as COCO's, beside pycocotools;
``python benchmark.py decoding --write docs/data.md`` decodes JPEGs whole and as training does, for time and for AP;
``python benchmark.py serve --write docs/serving.md`` calls serve.py, from one to many callers at once.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.output import Output, command
from detect.cli.exit_status import exit_status
from detect.cli.flags import parse
from detect.cli.settings import BenchmarkSettings, TrainSettings
from detect.errors import UsageError
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, TIMM, check_trained_model
from detect.text import unknown

if TYPE_CHECKING:  # torch takes seconds to import, and --help need not wait for it
    from benchmarks.results import Place

IMAGE = Path(__file__).parent / "input" / "balloons_1.jpg"
RESULTS = Path("outputs/results")
FLAGS_OF = {  # those that are not every command's
    "inference": {"rounds", "models", "heads", "imgsz", "device"},
    "train": {"rounds", "models", "steps", "pretrained", "data", "data_root", "format", "imgsz", "device"},
    "data": {"rounds", "images", "objects"},
    "decoding": {"rounds", "data", "data_root", "format", "model", "imgsz", "device"},
    "results": {"runs", "records", "pretrained", "data_root", "device"},
    "serve": {"rounds", "model", "imgsz", "device", "clients", "seconds"},
}


def main() -> None:
    settings, given = parse(BenchmarkSettings, "Measure models, readers and training, side by side.")
    for name in sorted(given - FLAGS_OF[settings.command]):
        if owners := [command for command, names in FLAGS_OF.items() if name in names]:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is for {', '.join(owners)}, not for {settings.command}")
    commands = {
        "inference": inference,
        "train": train,
        "data": data,
        "decoding": decoding,
        "results": results,
        "serve": serve,
    }
    commands[settings.command](settings)


def inference(settings: BenchmarkSettings) -> None:
    """Every model looks at one image, by turns."""
    lines = choose(settings.models, settings.heads)

    from benchmarks import complexity, machine
    from benchmarks.inference import page, prepare
    from detect import progress, runtime
    from detect.media.images import read_image

    output_of(settings).check()
    progress.hide_bars(settings.quiet)
    device = runtime.pick_device(settings.device)
    runtime.configure_process()
    image = read_image(IMAGE)

    entries, calls = {}, {}
    for name, head in progress.bar(lines, desc="building"):
        entry, predictor = prepare(name, head, settings.imgsz, image, device)
        entries[name, head] = entry
        calls[name, head] = partial(predictor, [image])
    for key, seconds in complexity.interleaved(calls, settings.num_rounds).items():
        entries[key].seconds = seconds

    facts = {"machine": machine.in_words(device), "image_hw": image.shape[:2]}
    facts["models"] = [asdict(entry) for entry in entries.values()]
    output_of(settings).write(page([*entries.values()], IMAGE, image.shape[:2], command(), device), facts)


def train(settings: BenchmarkSettings) -> None:
    """Steps of this toolkit and of torchvision's references, by turns."""
    usual = TrainSettings()
    weights = settings.pretrained or "balloon"
    names = [name for name, _ in choose(settings.models or [usual.backbone], every_head=False)]
    for name in DETECTORS.keys() & names:
        check_trained_model(name)

    import torch

    from benchmarks import machine
    from benchmarks.training import measure, page
    from benchmarks.training_run import Job, start, ways_on
    from detect import progress, runtime
    from detect.data.description import find_spec

    output_of(settings).check()
    progress.hide_bars(settings.quiet)
    device, workers = runtime.pick_device(settings.device), runtime.default_workers()
    runtime.configure_process(workers)
    spec = find_spec(settings.data, settings.data_root, settings.format)
    spec.prepare()
    classes, records = spec.read("train")
    for name in names:  # once here, where a mistake gets its line
        start(name, weights, settings.imgsz, classes, has_masks=records.has_masks)
    job = Job(
        data=settings.data,
        data_root=str(settings.data_root) if settings.data_root else None,
        format=settings.format,
        weights=weights,
        aug=usual.aug,
        ema=usual.ema,
        imgsz=settings.imgsz,
        batch_size=usual.batch_size,
        steps=settings.steps,
        workers=workers,
        threads=torch.get_num_threads(),
        device=str(device),
    )
    measured = {name: measure(replace(job, model=name), ways_on(device), settings.num_rounds) for name in names}

    facts: dict[str, Any] = {"machine": machine.in_words(device), "job": asdict(job)}
    facts["runs"] = {
        name: {way: [asdict(run) for run in some] for way, some in runs.items()} for name, runs in measured.items()
    }
    images = f"{spec.name} ({len(records)} images)"
    output_of(settings).write(page(measured, job, images, command(), facts["machine"]), facts)


def data(settings: BenchmarkSettings) -> None:
    """A file as large as COCO's is loaded by this toolkit and by pycocotools, by turns."""
    from benchmarks import machine
    from benchmarks.coco_file import rendered
    from benchmarks.data import measure, page, versions
    from detect import progress, runtime

    output_of(settings).check()
    progress.hide_bars(settings.quiet)
    with rendered(settings.images, settings.objects) as path:
        size = path.stat().st_size
        loads = measure(path, settings.objects, settings.num_rounds)

    where = f"{machine.in_words(runtime.pick_device('cpu'))}, {versions()}"
    file = f"{settings.images} images, {settings.objects} objects, {size / 1e6:.3g} MB"
    facts = {"machine": where, "images": settings.images, "objects": settings.objects, "file_bytes": size}
    facts["loads"] = {name: [asdict(load) for load in some] for name, some in loads.items()}
    output_of(settings).write(page(loads, file, command(), where), facts)


def decoding(settings: BenchmarkSettings) -> None:
    """Training items and what a model finds, of images decoded whole and of those decoded as training does."""
    from benchmarks import machine
    from benchmarks.decoding import measure, measure_photograph, photograph
    from benchmarks.decoding_page import page, versions
    from benchmarks.sharpness import compare, load_at, read_scored
    from detect import progress, runtime
    from detect.data.description import find_spec

    output_of(settings).check()
    progress.hide_bars(settings.quiet)
    device = runtime.pick_device(settings.device)
    runtime.configure_process()
    spec = find_spec(settings.data, settings.data_root, settings.format)
    spec.check_split("train")
    sizes, usual = (settings.imgsz, round(2 / 3 * settings.imgsz)), TrainSettings().augmentation
    predictors = [load_at(settings.model, imgsz, settings.device) for imgsz in sizes]
    spec.prepare()
    scored = read_scored(spec, predictors[0].class_names)
    _, records = spec.read("train")

    masks, rounds = records.has_masks, settings.num_rounds
    items = {imgsz: measure(records, imgsz, usual, with_masks=masks, rounds=rounds) for imgsz in sizes}
    with photograph(records) as photo:
        of_photo = {imgsz: measure_photograph(photo, imgsz, usual, rounds) for imgsz in sizes}
    sharpness = [compare(predictor, *scored) for predictor in predictors]

    where = f"{machine.in_words(device)}, {versions()}"
    facts: dict[str, Any] = {"machine": where, "data": spec.name, "model": settings.model}
    facts["items"] = {imgsz: some.as_lists() for imgsz, some in items.items()}
    facts["photograph"] = {imgsz: some.as_lists() for imgsz, some in of_photo.items()}
    facts["sharpness"] = [asdict(one) for one in sharpness]
    text = page(items, of_photo, photo, sharpness, settings.model, command(), where)
    output_of(settings).write(text, facts)


def results(settings: BenchmarkSettings) -> None:
    """Training runs in outputs/results, each made once; the page is of those that have a record."""
    from benchmarks import experiments, machine
    from benchmarks.results import Place, check_weights, make, read
    from detect import runtime

    output_of(settings).check()
    device = runtime.pick_device(settings.device)
    runtime.configure_process(runtime.default_workers())
    weights, where = settings.pretrained or "auto", machine.in_words(device)
    place = Place(settings.data_root, RESULTS, settings.records, weights, str(device), where)
    runs = experiments.chosen(settings.runs)
    left = [run for run in runs if not read(run, place)]
    for run in left:
        check_weights(run, place)
    for name in {run.data for run in left}:
        place.prepare(name)
    try:
        for run in left:
            make(run, place)
    finally:
        write_finished(settings, place)


def write_finished(settings: BenchmarkSettings, place: Place) -> None:
    from benchmarks import experiments
    from benchmarks.results import IMAGES, copy_curves, known_speedup, read
    from benchmarks.results_page import page

    done = {run.name: result for run in experiments.every() if (result := read(run, place))}
    speedups = {data: known_speedup(data, place) for data in experiments.PARTS}
    facts: dict[str, Any] = {"machine": place.machine, "speedup": speedups}
    facts["runs"] = {name: asdict(result) for name, result in done.items()}
    if settings.write:
        copy_curves(done, place, settings.write.parent / IMAGES)
    output_of(settings).write(page(done, speedups, command()), facts)


def serve(settings: BenchmarkSettings) -> None:
    """Callers send images to serve.py, and a loop over the same model looks at them, by turns."""
    from benchmarks import machine
    from benchmarks.serving import measure, page
    from detect import progress, runtime

    output_of(settings).check()
    progress.hide_bars(settings.quiet)
    device = runtime.pick_device(settings.device)
    runtime.configure_process()
    images = [(IMAGE.parent / f"image_{number}.jpg").read_bytes() for number in (1, 2, 3, 4)]
    how = settings.clients, settings.seconds, settings.num_rounds
    served = measure(settings.model, settings.imgsz, settings.device, images, *how)
    where = machine.in_words(device)
    facts = {"machine": where, "model": settings.model, "served": asdict(served)}
    output_of(settings).write(page(served, settings.model, settings.imgsz, command(), where), facts)


def output_of(settings: BenchmarkSettings) -> Output:
    """Where what is measured goes."""
    return Output(settings.command, settings.write, settings.json)


def choose(names: list[str] | None, every_head: bool) -> list[tuple[str, str]]:
    """(name, head) of each line to measure. UsageError for a name that is in neither table and not timm's."""
    known = (*BACKBONES, *DETECTORS)
    for name in names or ():
        if name not in known and not name.startswith(TIMM):
            raise UsageError(unknown("model", name, known))
    lines = []
    for name in dict.fromkeys(names or known):
        heads = (DETECTORS[name].head,) if name in DETECTORS else HEADS if every_head else HEADS[:1]
        lines += [(name, head) for head in heads]
    return lines


if __name__ == "__main__":
    sys.exit(exit_status(main))
