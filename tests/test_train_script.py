"""train.py, from command line to files: what a run leaves, how it goes on, and what it says to mistakes."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tiny import render_shapes
from web_server import Server

import train
from detect import checkpoint, engine, runtime
from detect.config import TrainSettings
from detect.data import dataset
from detect.errors import exit_status
from detect.models.pretrained import bundled
from detect.predictor import load_predictor

ROOT = Path(__file__).parent.parent
TINY = ["--pretrained", "none", "--imgsz", "64", "--lr", "0.001", "--workers", "0", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


@pytest.fixture
def run(monkeypatch):
    """Run train.py's main in-process; its exit status."""
    monkeypatch.setattr(runtime, "cores", lambda: 1)

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        return exit_status(train.main)

    return call


@pytest.fixture
def interrupt_at(monkeypatch):
    """``interrupt_at(n)``: Ctrl-C while the ``n``-th picture from now is read for training."""
    read = dataset.read_record

    def ask(number: int) -> None:
        left = iter(range(number - 1))

        def read_or_stop(record):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return read(record)

        monkeypatch.setattr(dataset, "read_record", read_or_stop)

    yield ask
    monkeypatch.setattr(dataset, "read_record", read)


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without the seconds."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_a_run_leaves_what_it_promises(run, data, tmp_path, capsys):
    assert run("--data", data, "--epochs", 2, "--output-dir", tmp_path, *TINY) == 0
    folder = tmp_path / "few_mobilenet_v2"
    assert {p.name for p in folder.iterdir()} == {
        "best.safetensors", "last.safetensors", "last_state.pt", "settings.yaml", "metrics.jsonl",
    }  # fmt: skip
    epochs = rows(folder)
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert {"loss", "loss_classifier", "loss_mask"} <= set(epochs[0]["losses"])
    assert {"bbox", "segm", "classes"} == set(epochs[0]["val"])
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert settings["imgsz"] == 64 and settings["backbone"] == "mobilenet_v2"

    said = capsys.readouterr().out
    assert "few: 4 pictures to train on, 2 to validate on" in said
    assert "mobilenet_v2 (maskrcnn) from random weights" in said
    assert f"python evaluate.py --model {folder}/best.safetensors --data {data} --split val" in said


def test_checkpoints_say_how_they_came_to_be_and_load_by_themselves(run, data, tmp_path):
    assert run("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *TINY) == 0
    saved = checkpoint.load(tmp_path / "x" / "last.safetensors")
    assert saved.class_names.names == ("circle", "square", "triangle") and saved.class_names.ids == (90, 7, 3)
    assert saved.training["epoch"] == 1 and saved.training["imgsz"] == 64
    assert saved.data["train_pictures"] == 4 and len(saved.data["train_sha256"]) == 4
    assert saved.metrics["val"] == rows(tmp_path / "x")[0]["val"]
    predictor = load_predictor(str(tmp_path / "x" / "best.safetensors"), device="cpu")
    assert predictor.model.transform.min_size == (64,)


FROM_WEIGHTS = ("--pretrained", "balloon", "--freeze", 2, "--copy-paste", 1, "--colours", "strong")


@pytest.mark.parametrize(("more", "read"), [(("--head", "fasterrcnn"), 4), (("--ema", 0.9, *FROM_WEIGHTS), 8)])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(run, data, tmp_path, interrupt_at, capsys, more, read):
    flags = ["--data", data, "--epochs", 4, "--output-dir", tmp_path, *TINY, *more]
    assert run(*flags, "--name", "whole") == 0
    interrupt_at(2 * read + 3)  # in the third epoch, of 4 pictures and as many to paste from
    assert run(*flags, "--name", "cut") == 130
    again = f"python train.py --resume {tmp_path}/cut"
    assert capsys.readouterr().err == f"stopped after 2 finished epochs; go on with: {again}\n"
    interrupt_at(1000)
    assert run("--resume", tmp_path / "cut") == 0

    whole, cut = (checkpoint.load(tmp_path / name / "last.safetensors").state for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert [row["epoch"] for row in rows(tmp_path / "cut")] == [1, 2, 3, 4]


def test_frozen_stages_stay_as_they_were(run, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, *TINY, *FROM_WEIGHTS]
    assert run(*flags, "--name", "x") == 0
    before, after = checkpoint.load(bundled("balloon")).state, checkpoint.load(tmp_path / "x/last.safetensors").state
    layers = [k for k in before if k.startswith("backbone.body.") and k.endswith("0.weight")]
    assert {k for k in layers if torch.equal(before[k], after[k])} == {
        k
        for k in layers
        if int(k.split(".")[2]) <= 6  # where stride 8 ends
    }


def test_random_weights_are_not_frozen_nor_masks_made_up(run, data, boxes_only, tmp_path, capsys):
    flags = ["--epochs", 1, "--output-dir", tmp_path, *TINY]
    assert run("--data", data, *flags, "--freeze", 1) == 2
    assert "--freeze keeps the weights that training starts from, and these are random" in capsys.readouterr().err
    assert run("--data", boxes_only, *flags, "--copy-paste", 0.5) == 2
    assert "--copy-paste cuts along masks" in capsys.readouterr().err


def test_a_model_made_for_small_pictures_keeps_its_size():
    assert TrainSettings().short_side == TrainSettings(model="v1").short_side == 480
    assert TrainSettings(model="mobilenet_320").short_side == 320
    assert TrainSettings(model="mobilenet_320", imgsz=200).short_side == 200


def test_the_average_is_what_is_scored_and_kept(run, data, tmp_path):
    """With the same seed, only what is kept differs: the weights themselves take the same way."""
    flags = ["--data", data, "--epochs", 2, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert run(*flags, "--name", "plain") == run(*flags, "--name", "average", "--ema", 0.9) == 0
    plain, average = (checkpoint.load_training_state(tmp_path / n / "last_state.pt") for n in ("plain", "average"))
    kept = checkpoint.load(tmp_path / "average" / "last.safetensors").state
    assert all(torch.equal(plain["model"][k], average["model"][k]) for k in plain["model"])
    assert all(torch.equal(kept[k], average["average"][f"module.{k}"]) for k in kept)
    assert not all(torch.equal(kept[k], average["model"][k]) for k in kept)


def test_going_on_with_other_pictures_is_told(run, data, tmp_path, capsys):
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert run(*flags, "--epochs", 1) == 0
    state = checkpoint.load_training_state(tmp_path / "x" / "last_state.pt")
    assert "cuda_rng" in state
    checkpoint.save_training_state({**state, "train_sha256": ["other"]}, tmp_path / "x" / "last_state.pt")
    assert run("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert "the training pictures are no longer those of its first epochs" in capsys.readouterr().err
    checkpoint.save_training_state({"epoch": 1}, tmp_path / "x" / "last_state.pt")
    assert run("--resume", tmp_path / "x") == 2
    assert "is not of a training run: it lacks" in capsys.readouterr().err


def test_a_row_that_was_cut_off_or_belongs_to_a_lost_epoch_is_written_anew(run, data, tmp_path):
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert run(*flags, "--epochs", 1) == 0
    with (tmp_path / "x" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lr": 1}\n{"epo')
    assert run("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert [row["epoch"] for row in rows(tmp_path / "x")] == [1, 2]


def test_ctrl_c_in_the_first_epoch_promises_nothing(run, data, tmp_path, interrupt_at, capsys):
    interrupt_at(2)
    assert run("--data", data, "--output-dir", tmp_path, *TINY) == 130
    assert capsys.readouterr().err == "stopped after 0 finished epochs; there is nothing to go on with\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_real_script_stops_at_ctrl_c_and_says_how_to_go_on(data, tmp_path):
    flags = [
        "--data",
        data,
        "--epochs",
        "1000",
        "--output-dir",
        tmp_path,
        "--name",
        "x",
        "--head",
        "fasterrcnn",
        *TINY,
    ]
    # A process that a shell started in the background ignores Ctrl-C, and so would those that it starts.
    listen = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command = [sys.executable, "-c", listen + "runpy.run_path('train.py', run_name='__main__')", *flags]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while not (tmp_path / "x" / "best.safetensors").is_file() and process.poll() is None:  # written last
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.count("\n") == 1 and f"go on with: python train.py --resume {tmp_path}/x" in said


def test_val_may_list_its_classes_in_another_order(run, data, tmp_path, monkeypatch):
    """Labels are positions in a file's own list, so val's must not be read with train's names."""
    content = json.loads((data.parent / "files" / "val.json").read_text())
    content["categories"] = content["categories"][::-1]
    turned = tmp_path / "turned.json"
    turned.write_text(json.dumps(content))
    spec = yaml.safe_load(data.read_text())
    spec["splits"]["val"]["annotations"] = str(turned)
    spec["root"] = str(data.parent / "files")
    (tmp_path / "turned.yaml").write_text(yaml.safe_dump(spec))

    seen = []

    def evaluate(predictor, records, class_names, **_):
        seen.append(class_names.ids)
        return {"bbox": {"AP": 0.0, "AP50": 0.0}}

    monkeypatch.setattr(engine, "evaluate", evaluate)
    assert run("--data", tmp_path / "turned.yaml", "--epochs", 1, "--output-dir", tmp_path, *TINY) == 0
    assert seen == [(3, 7, 90)]


def changed(data: Path, folder: Path, edit) -> Path:
    """A copy of the description whose val annotations went through ``edit``."""
    content = json.loads((data.parent / "files" / "val.json").read_text())
    edit(content)
    (folder / "edited.json").write_text(json.dumps(content))
    spec = yaml.safe_load(data.read_text())
    spec["splits"]["val"]["annotations"] = str(folder / "edited.json")
    spec["root"] = str(data.parent / "files")
    (folder / "edited.yaml").write_text(yaml.safe_dump(spec))
    return folder / "edited.yaml"


def rename(content: dict) -> None:
    for category in content["categories"]:
        category["name"] = category["name"].upper()


def empty(content: dict) -> None:
    content["annotations"] = []


def enlarge(content: dict) -> None:
    for image in content["images"]:
        image["width"] += 1


@pytest.mark.parametrize(
    ("edit", "words"),
    [(rename, "share no class"), (empty, "not one picture of split 'val'"), (enlarge, "pixels, its annotations are")],
)
def test_a_val_split_that_says_nothing_is_refused_before_training(run, data, tmp_path, capsys, edit, words):
    assert run("--data", changed(data, tmp_path, edit), "--output-dir", tmp_path, *TINY) == 2
    assert words in capsys.readouterr().err


def test_the_settings_of_a_run_are_a_config_for_the_next(run, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--batch-size", 2, "--output-dir", tmp_path, *TINY]
    assert run("--model", "v1", *flags, "--name", "one") == 0
    assert run("--config", tmp_path / "one" / "settings.yaml") == 0
    former, later = (yaml.safe_load((tmp_path / n / "settings.yaml").read_text()) for n in ("one", "one_2"))
    assert former == later and former["model"] == "v1"


# Mistakes


@pytest.fixture(scope="module")
def boxes_only(data, tmp_path_factory) -> Path:
    """The same data without masks."""
    folder = tmp_path_factory.mktemp("boxes")
    spec = yaml.safe_load(data.read_text())
    spec["root"] = str(data.parent / "files")
    for part in spec["splits"].values():
        content = json.loads((data.parent / "files" / part["annotations"]).read_text())
        for annotation in content["annotations"]:
            del annotation["segmentation"]
        part["annotations"] = str(folder / part["annotations"])
        Path(part["annotations"]).write_text(json.dumps(content))
    (folder / "boxes.yaml").write_text(yaml.safe_dump(spec))
    return folder / "boxes.yaml"


def test_data_without_masks_gets_a_faster_rcnn_by_default(run, boxes_only, tmp_path, capsys):
    assert run("--data", boxes_only, "--epochs", 1, "--output-dir", tmp_path, *TINY) == 0
    assert "mobilenet_v2 (fasterrcnn)" in capsys.readouterr().out


MISTAKES = {
    "model and backbone": (["--model", "v1", "--backbone", "resnet50"], "--model names a whole model"),
    "backbone": (["--backbone", "resnet5"], "unknown backbone 'resnet5': did you mean resnet50"),
    "model": (["--model", "maskrcnn_v3"], "unknown model 'maskrcnn_v3': did you mean maskrcnn_v2"),
    "data": (["--data", "shape"], "unknown data set 'shape': did you mean shapes"),
    "data file": (["--data", "none.yaml"], "no such data set description: none.yaml"),
    "data root": (["--data-root", "nowhere"], "--data-root nowhere is not a folder"),
    "pretrained": (["--pretrained", "none.pth"], "--pretrained none.pth: no such file"),
    "one jitter": (["--jitter", "0.5"], "--jitter 0.5 must be two numbers, the smaller one first"),
    "reversed jitter": (["--jitter", "1.2", "0.5"], "--jitter 1.2 0.5 must be two numbers, the smaller one first"),
    "device": (["--device", "tpu"], "unknown device 'tpu'"),
    "epochs": (["--epochs", "0"], "--epochs 0 must be at least 1"),
    "flag": (["--epoch", "3"], "unknown flag '--epoch': did you mean --epochs"),
    "no run": (["--resume", "nowhere"], "cannot read nowhere/settings.yaml"),
}  # fmt: skip


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n"), error
    return error.removeprefix("error: ")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(run, data, tmp_path, capsys, mistake):
    flags, words = MISTAKES[mistake]
    base = ["--output-dir", tmp_path] if "--resume" not in flags else []
    base += [] if {"--data", "--resume"} & set(flags) else ["--data", data]
    assert run(*base, *flags) == 2
    assert words in one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(run, data, capsys):
    assert run("--data", data, "--device", "cuda") == 2
    assert "--device cuda: this machine has 0 CUDA devices; use --device cpu" in one_line(capsys.readouterr().err)


def test_a_mask_head_needs_masks(run, boxes_only, tmp_path, capsys):
    for flags in (["--head", "maskrcnn"], ["--model", "maskrcnn"]):
        assert run("--data", boxes_only, "--output-dir", tmp_path, *TINY, *flags) == 2
        assert "learns masks and" in one_line(capsys.readouterr().err)


def test_an_output_that_cannot_be_written_is_told(run, data, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("--data", data, "--output-dir", tmp_path / "file" / "runs", *TINY) == 2
    assert "Not a directory" in one_line(capsys.readouterr().err)


def test_resume_takes_the_runs_own_settings(run, tmp_path, capsys):
    assert run("--resume", tmp_path, "--imgsz", 320, "--epochs", 3) == 2
    assert "--resume takes the run's own settings; --imgsz cannot be changed" in one_line(capsys.readouterr().err)
    (tmp_path / "settings.yaml").write_text("epochz: 3\n")
    assert run("--resume", tmp_path) == 2
    assert "unknown key 'epochz': did you mean epochs" in one_line(capsys.readouterr().err)
    (tmp_path / "settings.yaml").write_text("data: nowhere\n")
    assert run("--resume", tmp_path, "--device", "cpu") == 2  # before any work on the data
    assert "nothing to resume" in one_line(capsys.readouterr().err)


def test_a_run_keeps_no_key_of_the_address_it_started_from_and_goes_on(run, data, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert run(*flags, "--name", "first") == 0
    server = Server()
    server.body = (tmp_path / "first" / "last.safetensors").read_bytes()
    url = server.url("x.safetensors")
    digest = f"#sha256={hashlib.sha256(server.body).hexdigest()}"
    with server.running():
        assert run(*flags, "--pretrained", f"{url}?token=secret{digest}", "--name", "x") == 0
    assert server.paths == ["/files/x.safetensors?token=secret"]
    assert run("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert yaml.safe_load((tmp_path / "x" / "settings.yaml").read_text())["pretrained"] == f"{url}?...{digest}"
    training = checkpoint.load(tmp_path / "x" / "last.safetensors").training
    assert training["pretrained"] == f"{url}?...{digest}" and training["epoch"] == 2
    assert not [path for path in (tmp_path / "x").iterdir() if b"secret" in path.read_bytes()]


def test_resume_refuses_data_with_other_classes(run, data, tmp_path, capsys):
    flags = ["--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert run("--data", data, *flags) == 0
    settings = yaml.safe_load((tmp_path / "x" / "settings.yaml").read_text())
    spec = yaml.safe_load(data.read_text()) | {"classes": ["square", "circle"], "root": str(data.parent / "files")}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(spec))
    settings["data"] = str(tmp_path / "other.yaml")
    (tmp_path / "x" / "settings.yaml").write_text(yaml.safe_dump(settings))
    assert run("--resume", tmp_path / "x", "--epochs", 2) == 2
    assert "was trained on the classes ['circle', 'square', 'triangle']" in one_line(capsys.readouterr().err)


def test_help_needs_no_torch():
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--backbone" in done.stdout and not done.stderr
