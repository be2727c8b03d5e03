"""Rules that hold for detect_image.py and detect_video.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.folders import ROOT

from detect.cli.commands import detect_image, detect_video
from detect.cli.settings.detection import DetectImageSettings, DetectVideoSettings
from detect.data.exporters import EXPORTERS
from detect.inference.writers import FORMATS, LABELS


@pytest.mark.parametrize("script", [detect_image, detect_video])
def test_unwritable_output_is_an_error_before_the_model_loads(run_script, predictor, images, clip, tmp_path, script):
    (tmp_path / "out").touch()
    assert run_script(script, "--input", clip if script is detect_video else images) == 2
    assert not predictor.asked


@pytest.mark.parametrize("script", [detect_image, detect_video])
def test_missing_input_is_an_error_before_the_model_is_loaded(run_script, predictor, script, capsys):
    assert run_script(script, "--input", "none.mp4") == 2
    assert "none.mp4" in capsys.readouterr().err
    assert not predictor.asked


@pytest.mark.parametrize("script", [detect_image, detect_video])
@pytest.mark.parametrize(("model", "hint"), [("balloon", "--model balloon only detects balloon, kite;"), ("fake", "")])
def test_without_detections_a_bundled_model_says_what_it_detects(
    run_script, predictor, images, clip, capsys, script, model, hint
):
    predictor.name, predictor.threshold = model, 0.99
    assert run_script(script, "--input", clip if script is detect_video else images) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(hint) if hint else "10 frames, no detections, " in last or "3 images, 0 objects, " in last


@pytest.mark.parametrize("script", ["detect_image.py", "detect_video.py"])
def test_help_and_errors_in_flags_do_not_import_torch(script):
    def call(*arguments: str) -> subprocess.CompletedProcess:
        code = (
            "import runpy, sys; sys.argv = sys.argv[1:]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "finally: assert 'torch' not in sys.modules"
        )
        command = [sys.executable, "-c", code, script, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    help_ = call("--help")
    assert help_.returncode == 0 and "--input FILE" in help_.stdout and not help_.stderr
    wrong = call("--input", "x", "--treshold", "0.3")
    assert wrong.returncode == 2 and not wrong.stdout
    assert wrong.stderr.startswith("error: unknown flag '--treshold': did you mean --threshold")
    assert wrong.stderr.count("\n") == 1
    missing = call("--input", "none.jpg")
    assert missing.returncode == 2 and "none.jpg" in missing.stderr


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("detect_image.py", ["a.jpg"], "'a.jpg' follows no flag"),
        (
            "detect_video.py",
            ["--input", "a.mp4", "b.mp4"],
            "'b.mp4' follows no flag (see --help); --input takes one",
        ),
        ("detect_video.py", ["--input", "a.mp4", "--input", "b.mp4"], "--input takes one video, not 2"),
        ("detect_video.py", ["--input", "clips/*.mp4"], "give one video"),
    ],
)
def test_unusable_number_of_inputs_is_a_one_line_error(script, words, said):
    command = [sys.executable, script, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and said in done.stderr


@pytest.mark.parametrize("settings", [DetectImageSettings, DetectVideoSettings])
def test_every_output_format_has_a_flag(settings):
    fields = settings.__dataclass_fields__
    datasets = {name for name in FORMATS if name.startswith(LABELS)}
    conventions = {name for name, writer in FORMATS.items() if not writer.has_flag}
    single = [name for name in FORMATS if name not in datasets | conventions]
    assert {name for name in fields if name.startswith("save_")} == {"save_labels", *(f"save_{n}" for n in single)}
    assert settings(input=["x"]).formats == []
    assert settings(input=["x"], **{f"save_{name}": True for name in single}).formats == single
    for name in datasets:
        assert settings(input=["x"], save_labels=name.removeprefix(LABELS)).formats == [name]
    assert set(fields["save_labels"].metadata["choices"]) == set(EXPORTERS)
    assert conventions <= set(fields["json_format"].metadata["choices"])
    for name in conventions:
        assert settings(input=["x"], json_format=name).formats == [name]
