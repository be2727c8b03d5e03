"""Score a checkpoint on a split of a data set, by the COCO protocol, on the original pixels.

Writes outputs/evaluate/NAME/metrics.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from detect.config import EvaluateSettings
from detect.errors import UsageError, exit_status, warn
from detect.flags import parse


def main() -> None:
    settings, _ = parse(EvaluateSettings, "Score a model on a split of a data set with COCO's metrics.")

    from detect import runtime
    from detect.data.spec import find_spec
    from detect.engine import SCORE_FLOOR, evaluate
    from detect.metrics import coco
    from detect.predictor import load_predictor
    from detect.runlog import new_folder

    runtime.set_up()
    spec = find_spec(settings.data, settings.data_root)
    spec.prepare()
    class_names, records = spec.read(settings.split)
    predictor = load_predictor(settings.model, device=settings.device, imgsz=settings.imgsz, threshold=SCORE_FLOOR)
    known = [name for name in class_names.names if name in predictor.class_names.names]
    strangers = [name for name in class_names.names if name not in known]
    if not known:
        theirs = ", ".join(predictor.class_names.names[:10])
        raise UsageError(
            f"{settings.model} knows none of the classes of '{spec.name}' ({strangers}); it knows {theirs}"
        )
    if strangers:
        warn(f"{settings.model} does not know {', '.join(strangers)}: they score 0")

    name = settings.name or f"{Path(settings.model).stem}_{spec.name}_{settings.split}"
    folder = new_folder(settings.output_dir, name)
    metrics = evaluate(predictor, records, class_names, quiet=settings.quiet)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(
        f"{settings.model} on {spec.name} {settings.split}: {len(records)} pictures, {sum(map(len, records))} objects"
    )
    print(coco.table(metrics))
    print(f"-> {folder / 'metrics.json'}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
