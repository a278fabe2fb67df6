#!/usr/bin/env bash
# Measure the ablations again: depths and counts, latency on two runtimes and at two sizes, what partitioners make of them, and their accuracy.
#   docs/measurements/scripts/measure_ablations.sh [FOLDER WITH train/ AND val/]
# The folder is the one of train_fashion_mnist.sh. Latencies need an idle machine; all of it takes about an hour and a quarter of two idle cores.
set -euo pipefail
cd "$(dirname "$0")/../../.."
data=${1:-build/fashion-mnist}
python docs/measurements/scripts/ablation_depths.py
for target in onnx openvino; do
  python convert.py "$target" --model edgevit_xxs --output build/xxs
  python convert.py bench "build/xxs/$target-fp32" --against ablations --runs 120 --output "docs/measurements/ablations/$target"
done
python convert.py onnx --model edgevit_xxs --image-size 512x1024 --output build/wide
python convert.py bench build/wide/onnx-fp32 --against ablations --runs 60 --output docs/measurements/ablations/onnx-512x1024
python convert.py friendliness --model edgevit_xxs --targets onnx,openvino,coreml,executorch,litert --against ablations
resume=""
[ -e build/ablations/edgevit_xxs/checkpoint-last.pt ] && resume=--resume
python convert.py train --data "$data" --ablations --recipe small --epochs 0.75 --small-epochs 0.5 --warmup-epochs 0.1 \
  --evaluate-every 100 --checkpoint-every 100 --output build/ablations $resume
