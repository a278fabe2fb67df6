#!/usr/bin/env bash
# Run inferences with pauses between them on an Android phone, for a power trace (docs/platforms/energy.md):
#   docs/measurements/scripts/energy_on_android.sh rails|meter litert|executorch|onnx BUNDLE PROGRAM
# PROGRAM is the runtime's own benchmark binary, built for the phone: benchmark_model, executor_runner or onnxruntime_perf_test.
# rails: the phone measures itself (Pixel 6 and newer); each region is one start of PROGRAM with INFERENCES runs; the trace is pulled.
# meter: an external meter measures; regions start WAIT seconds after this ends, so that USB can be unplugged, which would charge it.
# Settings, by the environment: REGIONS=50 INFERENCES=200 PAUSE=3 WAIT=30 THREADS=1 OUTPUT=build/energy
set -euo pipefail
[ $# -eq 4 ] || { sed -n '2,7s/^# //p' "$0"; exit 2; }
how=$1 runtime=$2 bundle=$3 program=$4
regions=${REGIONS:-50} inferences=${INFERENCES:-200} pause=${PAUSE:-3} wait=${WAIT:-30} threads=${THREADS:-1}
output=${OUTPUT:-build/energy} there=/data/local/tmp/edgevit-energy
mkdir -p "$output"

# What a bundle names reaches the phone's shell, so only names that no shell takes for anything else are let through.
read -r model name bytes shape < <(python - "$bundle" <<'PYTHON'
import json, math, re, sys
manifest = json.load(open(f"{sys.argv[1]}/manifest.json"))
path, given = manifest["path"], manifest["inputs"][0]
for text in (path, given["name"]):
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", text) or ".." in text:
        sys.exit(f"{text!r} in manifest.json: a name has letters, digits, . _ / and - here, and no ..; convert again")
if given["dtype"] != "float32" or not all(type(axis) is int and axis > 0 for axis in given["shape"]):
    sys.exit("the bundle has an input of another type or of no fixed size; convert with a fixed batch and size")
print(path, given["name"], 4 * math.prod(given["shape"]), ",".join(map(str, given["shape"])))
PYTHON
)
for number in "$regions" "$inferences" "$pause" "$wait" "$threads"; do
    [[ $number =~ ^[0-9]+(\.[0-9]+)?$ ]] || { echo "REGIONS, INFERENCES, PAUSE, WAIT and THREADS are numbers, not $number" >&2; exit 2; }
done
head -c "$bytes" "$bundle/golden/input.f32" > "$output/input.f32"

case $runtime in
litert)
    on_phone=model.tflite
    flags="--graph=model.tflite --num_threads=$threads --use_xnnpack=true --input_layer=$name --input_layer_shape=$shape"
    flags="$flags --input_layer_value_files=$name:input.f32 --warmup_runs=1 --warmup_min_secs=0 --min_secs=0 --max_secs=100000"
    apart="./program $flags --num_runs=$regions --run_delay=$pause"
    together="./program $flags --num_runs=$inferences" ;;
executorch)
    on_phone=model.pte
    flags="--model_path=model.pte --inputs=input.f32 --cpu_threads=$threads --print_output=none"
    apart="(i=0; while [ \$i -lt $regions ]; do sleep $pause; echo; i=\$((i + 1)); done) | ./program $flags --server_mode"
    together="./program $flags --num_executions=$inferences" ;;
onnx)
    on_phone=model.onnx
    [[ $model != *.ort ]] || on_phone=model.ort
    python - "$output" "$name" "$shape" <<'PYTHON'
import pathlib, sys
import numpy, onnx
folder, name, shape = sys.argv[1:]
values = numpy.fromfile(f"{folder}/input.f32", "<f4").reshape([int(axis) for axis in shape.split(",")])
pathlib.Path(folder, "input_0.pb").write_bytes(onnx.numpy_helper.from_array(values, name).SerializeToString())
PYTHON
    apart=""
    together="./program -m times -r $inferences -x $threads $on_phone result.txt" ;;
*) echo "unknown runtime $runtime: litert, executorch or onnx" >&2; exit 2 ;;
esac
[ "$how" = rails ] || [ "$how" = meter ] || { echo "unknown way $how: rails or meter" >&2; exit 2; }
in_starts="i=0; while [ \$i -lt $regions ]; do $together; sleep $pause; i=\$((i + 1)); done"
per_region=$inferences
if [ "$how" = meter ] && [ -n "$apart" ]; then per_region=1; else apart=$in_starts; fi

adb shell "rm -rf $there && mkdir -p $there/test_data_set_0"
adb push "$program" "$there/program"
adb push "$bundle/$model" "$there/$on_phone"
adb push "$output/input.f32" "$there/input.f32"
[ "$runtime" != onnx ] || adb push "$output/input_0.pb" "$there/test_data_set_0/"
adb shell "chmod 755 $there/program"

if [ "$how" = meter ]; then
    adb shell "cd $there && nohup sh -c 'sleep $wait; $apart' > log.txt 2>&1 &"
    echo "begins in $wait s: start the meter and unplug USB now. Then, with the trace:"
    echo "python convert.py energy TRACE --bundle ${bundle@Q} --runs $regions --per-region $per_region --output ${output@Q}"
    exit
fi
tracer=$(adb shell perfetto --txt -c - -o /data/misc/perfetto-traces/edgevit.pftrace --background <<CONFIG
buffers { size_kb: 65536 }
data_sources { config { name: "android.power" android_power_config { battery_poll_ms: 250 collect_power_rails: true } } }
duration_ms: 3600000
CONFIG
)
sleep 5
adb shell "cd $there && $apart" > "$output/log.txt" 2>&1
sleep 5
adb shell "kill -INT ${tracer//[^0-9]/}; sleep 2"
adb pull /data/misc/perfetto-traces/edgevit.pftrace "$output/edgevit.pftrace"
echo "it lists the rails; say by --rails NAME,... which to add up, since some may hold others (docs/platforms/energy.md):"
echo "python convert.py energy ${output@Q}/edgevit.pftrace --bundle ${bundle@Q} --runs $regions --per-region $per_region --output ${output@Q}"
