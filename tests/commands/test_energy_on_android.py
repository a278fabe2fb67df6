"""The script that triggers inferences on a phone, against an `adb` that only writes down what it is told: no phone was asked."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs/measurements/scripts/energy_on_android.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")

ADB = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
*perfetto*--txt*) cat >> "$LOG"; echo 4711 ;;
pull*) : > "$3" ;;
esac
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    place = tmp_path / "bundle"
    (place / "golden").mkdir(parents=True)
    inputs = [{"name": "input", "shape": [1, 3, 2, 2], "dtype": "float32"}]
    (place / "manifest.json").write_text(json.dumps({"path": "model.bin", "inputs": inputs}))
    (place / "model.bin").write_bytes(b"")
    np.arange(24, dtype="<f4").tofile(place / "golden/input.f32")  # two inputs
    return place


def told(bundle: Path, how: str, runtime: str) -> tuple[str, str]:
    """Return what the phone was told, and what the user was."""
    done = script(bundle, how, runtime)
    assert done.returncode == 0, done.stderr
    return (bundle.parent / "log").read_text(), done.stdout


def script(bundle: Path, how: str, runtime: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    tools, log = bundle.parent / "bin", bundle.parent / "log"
    tools.mkdir(exist_ok=True)
    (tools / "adb").write_text(ADB)
    (tools / "adb").chmod(0o755)
    (tools / "sleep").write_text("#!/bin/sh\n")
    (tools / "sleep").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "LOG": str(log), "OUTPUT": str(bundle.parent / "out")}
    environment |= {"REGIONS": "7", "INFERENCES": "30", "PAUSE": "2"} | settings
    return subprocess.run(
        [SCRIPT, how, runtime, bundle, "/bin/true"], env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("how", "runtime", "triggers", "per_region"),
    [
        ("meter", "litert", "--num_runs=7 --run_delay=2", 1),
        ("meter", "executorch", "[ $i -lt 7 ]; do sleep 2; echo; i=$((i + 1)); done) | ./program", 1),
        ("meter", "onnx", "do ./program -m times -r 30 -x 1 model.onnx result.txt; sleep 2;", 30),
        ("rails", "litert", "--num_runs=30; sleep 2;", 30),
        ("rails", "executorch", "--num_executions=30; sleep 2;", 30),
    ],
)
def test_what_the_phone_is_told(bundle: Path, how: str, runtime: str, triggers: str, per_region: int) -> None:
    phone, user = told(bundle, how, runtime)
    assert triggers in phone
    assert f"--runs 7 --per-region {per_region}" in user
    suffix = {"litert": "tflite", "executorch": "pte", "onnx": "onnx"}[runtime]
    assert f"push {bundle}/model.bin /data/local/tmp/edgevit-energy/model.{suffix}\n" in phone
    assert phone.count("model.bin") == 1
    assert np.fromfile(bundle.parent / "out/input.f32", "<f4").tolist() == list(range(12))
    assert ("collect_power_rails: true" in phone) == (how == "rails")
    assert ("kill -INT 4711" in phone) == (how == "rails")


def test_onnx_gets_the_golden_input(bundle: Path) -> None:
    onnx = pytest.importorskip("onnx")
    told(bundle, "meter", "onnx")
    tensor = onnx.TensorProto()
    tensor.ParseFromString((bundle.parent / "out/input_0.pb").read_bytes())
    assert tensor.name == "input"
    assert onnx.numpy_helper.to_array(tensor).reshape(-1).tolist() == list(range(12))


def test_the_flags_that_it_prints_are_flags(bundle: Path) -> None:
    from edgevit_deploy import cli

    _, user = told(bundle, "rails", "litert")
    known = {name for argument in cli.build_app(["energy"])["energy"].assemble_argument_collection() for name in argument.names}
    printed = [word for word in user.split() if word.startswith("--")]
    assert printed
    assert set(printed) <= known


def test_which_rails_to_add_up_is_left_to_the_user(bundle: Path) -> None:
    """Some phones have rails that contain others: all of them would count twice."""
    _, user = told(bundle, "rails", "litert")
    command = shlex.split(user.splitlines()[-1])
    assert command[2] == "energy"
    assert "--rails" not in command
    assert "--rails NAME,..." in user.splitlines()[-2]


HOSTILE = ("x;reboot", "$(reboot)", "`reboot`", "a b", "a\nb", "../../etc/passwd", "/etc/passwd", "-x", "a'b", 'a"b', "a|b", "")


@pytest.mark.parametrize("runtime", ["litert", "executorch", "onnx"])
@pytest.mark.parametrize("key", ["path", "name"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_that_a_shell_would_take_for_more_is_refused(bundle: Path, runtime: str, key: str, text: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (manifest if key == "path" else manifest["inputs"][0])[key] = text
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = script(bundle, "meter", runtime)
    assert done.returncode != 0
    assert "in manifest.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bundle.parent / "log").exists()


def test_usual_names_pass(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["path"], manifest["inputs"][0]["name"] = "files/model_2-x.ort", "serving/input_1.x-2"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert "--input_layer=serving/input_1.x-2 " in told(bundle, "meter", "litert")[0]


@pytest.mark.parametrize("name", ["REGIONS", "INFERENCES", "PAUSE", "WAIT", "THREADS"])
def test_settings_are_numbers(bundle: Path, name: str) -> None:
    done = script(bundle, "rails", "litert", **{name: "1; reboot"})
    assert done.returncode == 2
    assert not (bundle.parent / "log").exists()


def test_what_it_prints_may_be_pasted(bundle: Path) -> None:
    odd = bundle.rename(bundle.parent / "a bundle; $(reboot)")
    _, user = told(odd, "meter", "litert")
    words = shlex.split(user.splitlines()[-1])
    assert words[words.index("--bundle") + 1] == str(odd)


def test_wrong_use_is_said(bundle: Path) -> None:
    for words in ((), ("rails", "tflite", bundle, "/bin/true"), ("both", "litert", bundle, "/bin/true")):
        done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert done.stdout + done.stderr
