"""Score a checkpoint on a split of a dataset, by the COCO protocol, on the original pixels.

Writes outputs/evaluate/NAME/metrics.json.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from detect.cli.flags import parse
from detect.cli.settings import EvaluateSettings
from detect.errors import DataError


def main() -> None:
    settings, _ = parse(EvaluateSettings, "Score a model on a split of a dataset with COCO's metrics.")

    from detect import progress, runtime
    from detect.data.description import find_spec
    from detect.evaluation import bootstrap, coco_metrics
    from detect.evaluation.predict import SCORE_FLOOR, check_classes, found_in
    from detect.inference.load import load_model
    from detect.io.files import make_folder, new_run_folder, write_text
    from detect.io.links import is_link, publishable_link

    progress.hide_bars(settings.quiet)
    runtime.configure_process()
    make_folder(settings.output_dir)
    spec = find_spec(settings.data, settings.data_root, settings.format)
    spec.check_split(settings.split)
    predictor = load_model(settings.model, device=settings.device, imgsz=settings.imgsz, threshold=SCORE_FLOOR)
    spec.prepare()  # which may render or download
    if spec.discovery_note:
        print(spec.discovery_note)
    class_names, records = spec.read(settings.split)
    check_classes(predictor.class_names, class_names, f"dataset '{spec.name}'")
    if not any(map(len, records)):
        raise DataError(f"dataset '{spec.name}': no image of split '{settings.split}' has an object to be found")

    path = Path(urlsplit(settings.model).path if is_link(settings.model) else settings.model)
    model = f"{path.parent.name}_{path.stem}" if path.stem in ("best", "last") else path.stem
    name = settings.name or f"{model}_{spec.name}_{settings.split}"
    with new_run_folder(settings.output_dir, name) as folder:
        began = time.perf_counter()
        found = found_in(predictor, records, class_names)
        seconds = (time.perf_counter() - began) / len(records)
        metrics = coco_metrics.score(records, found, class_names, evaluator=settings.evaluator)
        metrics["speed"] = {"seconds_per_image": round(seconds, 4), "device": str(predictor.device)}
        if settings.intervals:
            metrics["intervals"] = bootstrap.intervals(records, found, class_names)
        tested = f"{len(records)} images, {sum(map(len, records))} objects"
        print(f"{publishable_link(settings.model)} on {spec.name} {settings.split}: {tested}")
        print(f"{seconds:.3g} s an image, reading included, on {predictor.device}")
        print(coco_metrics.table(metrics))  # first, as a full disk is no reason to lose it
        write_text(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        print(f"-> {folder / 'metrics.json'}")
