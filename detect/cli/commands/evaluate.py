"""Evaluate a model, or a file of detections, on a split of a dataset by the COCO protocol, on original pixels.

Writes outputs/evaluate/NAME/metrics.json and, if wanted, thresholds.json, comparison.json and report.html.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detect.cli.flags import parse
from detect.cli.settings.evaluate import FINAL_MODEL, OWN_SETTINGS, EvaluateSettings
from detect.cli.startup import start_program, typed_command
from detect.errors import UsageError
from detect.evaluation import OUT_OF_FOLD
from detect.evaluation.scored_model import is_cross_validation, is_results_file
from detect.evaluation.threshold_settings import HELD_OUT
from detect.models.zoo import file_of_model
from detect.progress import report
from detect.text import counted, first_few, thresholds_in_words

if TYPE_CHECKING:
    from detect.data.spec import DatasetSpec
    from detect.evaluation.evaluate import Evaluation
    from detect.evaluation.results_rows import Results
    from detect.inference.predictor import Predictor


def main() -> int:
    settings, given = parse(EvaluateSettings, "Evaluate a model on a split of a dataset with COCO's metrics.")
    if settings.selftest:
        return run_selftest(settings, given)
    if settings.tune_speed:
        run_speed_tuning(settings, given)
        return 0
    if is_cross_validation(settings.model):
        evaluate_cross_validation(settings, given)
    else:
        evaluate_model(settings)
    return 0


def evaluate_model(settings: EvaluateSettings) -> None:
    """Evaluate a model or a file of detections; print and save the metrics and what else is wanted."""
    # Imported late so that --help and errors in flags come before the seconds that torch takes to load.
    from detect.evaluation.evaluate import evaluate
    from detect.evaluation.predict import require_shared_classes
    from detect.evaluation.results_rows import Results
    from detect.inference.predictor import Predictor
    from detect.io.files import make_folder, new_run_folder
    from detect.io.links import publishable_link
    from detect.models.checkpoint_file import own_checkpoint

    if settings.write_thresholds:
        own_checkpoint(settings.model, "thresholds")
    start_program(settings.quiet)
    make_folder(settings.output_dir)
    spec, model, other = prepare(settings)
    if isinstance(other, Predictor):
        class_names, _ = spec.select(settings.split)
        require_shared_classes(other.class_names, class_names, f"dataset '{spec.name}'", f"model {other.name}")
    shared: dict[str, Any] = {"split": settings.split, "max_detections": settings.max_detections}
    name = settings.name or f"{model_name(settings.model)}_{spec.name}_{settings.split}"
    with new_run_folder(settings.output_dir, name) as folder:
        # Before the model runs, since it is quick and finds every mistake in the file.
        baseline = evaluate(other, spec, **shared) if isinstance(other, Results) else None
        result = evaluate(model, spec, **shared, evaluator=settings.evaluator, intervals=settings.intervals)
        images, objects = len(result.records), sum(map(len, result.records))
        size = f"{counted(images, 'image')}, {counted(objects, 'object')}"
        print(f"{publishable_link(settings.model)} on {spec.name} {settings.split}: {size}")
        if speed := result.scores.get("speed"):
            print(f"{speed['seconds_per_image']:.3g} s per image including reading, on {speed['device']}")
        show_metrics(result, folder)
        if other:
            show_comparison(baseline or evaluate(other, spec, **shared), result, settings, folder)
        finish(result, settings, folder, settings.model)


def run_selftest(settings: EvaluateSettings, given: set[str]) -> int:
    """Print a line for each test of the self-test, and return the exit status."""
    if unused := sorted(given & {"compare", "precision", "recall", "write_thresholds", "report", "name"}):
        raise UsageError(f"`{unused[0]}` is for an evaluation; leave it out, or leave out `selftest`")
    if is_cross_validation(settings.model):
        raise UsageError(f"the self-test takes one model, such as {Path(settings.model) / FINAL_MODEL}")
    from detect.deployment.selftest import ALL_RUNTIMES
    from detect.evaluation.selftest import Status, run_tests
    from detect.io.links import publishable_link

    start_program(settings.quiet)
    spec, model, _ = prepare(settings)
    print(f"self-test of {publishable_link(settings.model)} on {spec.name} {settings.split}")
    failures = 0
    for line in run_tests(
        model,
        spec,
        split=settings.split,
        images=settings.selftest_images,
        max_detections=settings.max_detections,
        runtimes=ALL_RUNTIMES,
    ):
        report(str(line))
        failures += line.status is Status.FAIL
    print(f"{counted(failures, 'test')} failed" if failures else "no test failed")
    return 3 if failures else 0


def run_speed_tuning(settings: EvaluateSettings, given: set[str]) -> None:
    """Print what faster settings cost, and store the chosen ones in the checkpoint."""
    taken = {"model", "data", "data_root", "format", "device", "imgsz", "quiet", "tune_speed"}
    if unused := sorted(given - taken - ({"split"} if settings.split == "val" else set())):
        raise UsageError(f"`{unused[0]}` is not for `tune_speed`, which measures on val; leave it out")
    from detect.evaluation.speed_tuning import tune_speed
    from detect.models.checkpoint_file import own_checkpoint

    own_checkpoint(settings.model, "faster settings")
    start_program(settings.quiet)
    result = tune_speed(
        settings.model,
        settings.data,
        data_root=settings.data_root,
        format=settings.format,
        device=settings.device,
        imgsz=settings.imgsz,
    )
    report(result.table())
    result.write(settings.model)
    print(f"stored in {settings.model}: {result.in_words()}")


def evaluate_cross_validation(settings: EvaluateSettings, given: set[str]) -> None:
    """Test each model of a cross-validation on the images of its fold; print and save the metrics."""
    final = str(Path(settings.model) / FINAL_MODEL)
    if fixed := sorted(given & {"data", "format", "split", "compare", "proposals", "fast", "tile"}):
        raise UsageError(
            f"`{fixed[0]}` is not for a cross-validation, whose models are tested on the images of their folds; leave"
            f" it out, or evaluate one model, such as {final}"
        )
    from detect.evaluation.cross_validation import evaluate_folds, folds_table
    from detect.io.files import make_folder, new_run_folder
    from detect.models.checkpoint_file import own_checkpoint

    if settings.write_thresholds:
        own_checkpoint(final, "thresholds")
    start_program(settings.quiet)
    make_folder(settings.output_dir)
    name = settings.name or f"{Path(settings.model).resolve().name}_{OUT_OF_FOLD}"
    with new_run_folder(settings.output_dir, name) as folder:
        result = evaluate_folds(
            settings.model,
            data_root=settings.data_root,
            device=settings.device,
            imgsz=settings.imgsz,
            max_detections=settings.max_detections,
            evaluator=settings.evaluator,
        )
        print(folds_table(result.scores))
        images = counted(len(result.records), "image")
        print(f"{settings.model} on {result.dataset}: {images}, each tested by the model that was not trained on it")
        show_metrics(result, folder)
        finish(result, settings, folder, final)


def prepare(settings: EvaluateSettings) -> tuple[DatasetSpec, Predictor | Results, Predictor | Results | None]:
    """Return the dataset, the model and the baseline. Each model is a Predictor or the content of a file of
    detections."""
    from detect.data.description import find_spec
    from detect.evaluation.evaluate import load_scored_model

    def load(model: str, **own: Any) -> Predictor | Results:
        device = None if is_results_file(model) else settings.device
        return load_scored_model(model, device=device, max_detections=settings.max_detections, **own)

    spec = find_spec(settings.data, settings.data_root, settings.format)
    spec.check_split(settings.split)
    model = load(settings.model, **{name: getattr(settings, name) for name in OWN_SETTINGS})
    baseline = None if settings.compare is None else load(settings.compare)
    spec.prepare()  # downloads or renders a dataset, so it comes after everything that may fail at once
    if spec.discovery_note:
        print(spec.discovery_note)
    return spec, model, baseline


def show_metrics(result: Evaluation, folder: Path) -> None:
    """Print and save the metrics, and print which errors cost most."""
    report(result.table())  # before it is written, since a full disk would lose it
    result.save(folder / "metrics.json")
    print(f"-> {folder / 'metrics.json'}")
    if errors := result.top_errors():
        report("\n".join(["errors of boxes that cost most:", *(f"{n}. {error}" for n, error in enumerate(errors, 1))]))


def show_comparison(baseline: Evaluation, result: Evaluation, settings: EvaluateSettings, folder: Path) -> None:
    """Print and save the comparison with the baseline."""
    from detect.evaluation.comparison import compare
    from detect.io.files import write_text

    assert settings.compare
    names = model_name(settings.compare), model_name(settings.model)
    if names[0] == names[1]:
        names = settings.compare, f"{settings.model} (model)" if settings.model == settings.compare else settings.model
    found = compare(baseline, result, names=names)
    report(found.table())
    write_text(folder / "comparison.json", json.dumps(found.to_dict(), indent=1) + "\n")
    print(f"-> {folder / 'comparison.json'}")


def finish(result: Evaluation, settings: EvaluateSettings, folder: Path, model: str) -> None:
    """Show thresholds and write the report, with those that are now in the checkpoint ``model``.

    A report that was asked for is written although no threshold can be stored.
    """
    try:
        if result.split in HELD_OUT:
            show_thresholds(result, settings, folder, model)
        if settings.write_thresholds:
            result = result.with_thresholds_of(model)
    except UsageError:
        if settings.report:
            write_report(result, folder)
        raise
    if settings.report:
        write_report(result, folder)


def show_thresholds(result: Evaluation, settings: EvaluateSettings, folder: Path, model: str) -> None:
    """Print the suggested threshold; or print and save those chosen for each class and, if wanted, store them in the
    checkpoint ``model``."""
    from detect.io.files import write_text

    chosen = result.thresholds(settings.precision, settings.recall)
    if not settings.chooses_thresholds:
        print(f"suggested: {chosen.one_line()}")
        return
    report(f"score thresholds, {chosen.rule} on {result.split}, at IoU 0.5:\n{chosen.table()}")
    write_text(folder / "thresholds.json", json.dumps(chosen.to_dict(), indent=1) + "\n")
    print(f"-> {folder / 'thresholds.json'}")
    if settings.write_thresholds:
        stored = chosen.write(model)
        print(f"stored in {model}: {thresholds_in_words(stored)}")
        if others := [name for name in chosen.classes if name not in stored]:
            print(f"classes that keep the threshold of the checkpoint: {first_few(others)}")


def model_name(model: str) -> str:
    """Return the part of a run's name that stands for the model: for ``runs/kites/best.safetensors`` kites_best."""
    path = file_of_model(model)
    return f"{path.parent.name}_{path.stem}" if path.stem in ("best", "last") else path.stem


def write_report(result: Evaluation, folder: Path) -> None:
    """Write report.html into the output folder."""
    path = folder / "report.html"
    result.save_report(path, command=typed_command())
    print(f"-> {path}")
