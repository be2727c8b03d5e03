"""The page that compares models."""

from __future__ import annotations

import json
import statistics
from typing import Any

import altair as alt
import streamlit as st

from app_pages.models import ROOT, benchmark, newest_first, run_of
from detect.models import zoo

_KINDS = {"bbox": "boxes", "segm": "masks"}  # key in metrics.json -> words


def comparison_page() -> None:
    """Show the metrics of the visitor's own models, and the benchmark results of all models."""
    st.title("Models compared")
    st.header("Evaluated after fine-tuning")
    st.caption(
        "Results of evaluate.py in outputs/, with 95 % confidence intervals unless --no-intervals was given, and of"
        " the measured runs in docs/results.md. AP from 0 to 1."
    )
    show_table(evaluated_rows())
    measured = benchmark()
    height, width = measured["image_hw"]
    st.header("Size, computation and speed")
    st.caption(f"On {measured['machine']}, for an image of {width}x{height} pixels; docs/models.md has the details.")
    st.subheader("Detectors trained on everyday objects (COCO)")
    show_figures([detector_row(model) for model in measured["models"] if model["name"] in zoo.DETECTORS])
    st.subheader("Backbones to train on your own images")
    show_figures([backbone_row(model) for model in measured["models"] if model["name"] in zoo.BACKBONES])


def show_figures(rows: list[dict[str, Any]]) -> None:
    """Show a table of models and a chart of their times."""
    show_table(rows)
    # Without .interactive(), which st.bar_chart calls: the mouse wheel would zoom the chart instead of scrolling.
    bars = alt.Chart(alt.Data(values=rows)).mark_bar().properties(height=alt.Step(24))
    models = alt.Y("model:N", sort="x", title=None, axis=alt.Axis(labelLimit=200))
    st.altair_chart(bars.encode(x="ms per image:Q", y=models, tooltip=["model:N", "ms per image:Q"]))


def show_table(rows: list[dict[str, Any]]) -> None:
    """Show a table of all rows, without scrolling; a cell without a value stays empty."""
    formats = dict.fromkeys(("AP", "AP50", "box AP"), "%.3f")
    formats |= dict.fromkeys(("GFLOP", "parameters (millions)", "ImageNet top-1 (%)"), "%.1f")
    columns = {name: st.column_config.NumberColumn(format=digits) for name, digits in formats.items()}
    st.dataframe(rows, hide_index=True, placeholder="", height="content", column_config=columns)


def detector_row(model: dict[str, Any]) -> dict[str, str | float | None]:
    """Return the table row of a detector in MODELS_FILE. AP from 0 to 1."""
    further = {"masks": model["ap"].get("mask_map"), "keypoints": model["ap"].get("kp_map")}
    return {
        "model": model["name"],
        "box AP": round(model["ap"]["box_map"] / 100, 3),
        "further AP": ", ".join(f"{name} {ap / 100:.3f}" for name, ap in further.items() if ap is not None),
        **work(model),
    }


def backbone_row(model: dict[str, Any]) -> dict[str, str | float | None]:
    """Return the table row of a backbone in MODELS_FILE, under Mask R-CNN."""
    return {"model": model["name"], **work(model), "ImageNet top-1 (%)": model["top1"]}


def work(model: dict[str, Any]) -> dict[str, Any]:
    """Return the columns with time, computation and size of one entry of MODELS_FILE."""
    return {
        "ms per image": round(1000 * statistics.median(model["seconds"])),
        "GFLOP": round(model["multiply_adds"] / 1e9, 1),
        "parameters (millions)": round(model["parameters"] / 1e6, 1),
    }


def evaluated_rows() -> list[dict[str, str | float]]:
    """Return the rows of all evaluations: those in outputs/, newest first, then those in docs/results/.

    A file that holds no metrics is skipped, with a warning on the page.
    """
    rows = []
    for path in [*newest_first("metrics.json"), *sorted((ROOT / "docs" / "results").glob("*_default_0.json"))]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if path.name == "metrics.json":
                rows += metrics_rows(run_of(path), content)
            else:  # a record of benchmark.py results
                for split, part in content["metrics"].items():
                    rows += metrics_rows(f"{path.stem}, {split}", part)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            st.warning(f"{path.relative_to(ROOT)} holds no metrics: {error}")
    return rows


def metrics_rows(name: str, metrics: dict[str, Any]) -> list[dict[str, str | float]]:
    """Return a table row for the boxes and one for the masks of an evaluation, without those that were not measured.

    Each has AP and AP50 from 0 to 1, with their intervals if known.
    """
    rows = []
    for kind, words in _KINDS.items():
        row: dict[str, str | float] = {}
        for metric in ("AP", "AP50"):
            if (value := metrics.get(kind, {}).get(metric)) is not None:
                row[metric] = round(value, 3)
            if interval := metrics.get("intervals", {}).get(kind, {}).get(metric):
                row[f"{metric}, 95 %"] = "{:.3f} to {:.3f}".format(*interval)
        if row:
            rows.append({"evaluation": name, "of": words, **row})
    return rows
