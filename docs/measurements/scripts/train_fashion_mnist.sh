#!/usr/bin/env bash
# Make the data folder and train the network of tests/fixtures/trained again:
#   docs/measurements/scripts/train_fashion_mnist.sh [FOLDER [FLAG OF convert.py train ...]]
# Needs Debian's package lists (`apt-get update`), and `pip install -e '.[train]'`. About ten minutes of two idle cores.
set -euo pipefail
cd "$(dirname "$0")/../../.."
folder=${1:-build/fashion-mnist}
shift || true
mkdir -p "$folder"
[ -e "$folder"/dataset-fashion-mnist_*.deb ] || (cd "$folder" && apt-get download dataset-fashion-mnist)
[ -d "$folder/val" ] || python docs/measurements/scripts/write_fashion_mnist.py "$folder"/dataset-fashion-mnist_*.deb "$folder"
python convert.py train --data "$folder" --recipe small --output "$folder/run" "$@"
python docs/measurements/scripts/store_in_half.py "$folder/run/last.safetensors" "$folder/edgevit_xxs_fashion-mnist_64.safetensors"
