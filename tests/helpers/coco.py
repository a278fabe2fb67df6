"""Small sets of pictures with boxes in COCO's layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = {3: "square", 7: "disc", 12: "bar"}
"""Numbers as COCO's are: with gaps."""


def coco_document(pictures: int, seed: int, *, largest: int = 96) -> dict[str, Any]:
    """Annotations of pictures of several sizes, with up to four boxes each; some are crowds, one picture has none."""
    rng = np.random.default_rng(seed)
    images, boxes = [], []
    for number in range(1, pictures + 1):
        width, height = (int(side) for side in rng.integers(largest // 2, largest + 1, size=2))
        images.append({"id": number * 11, "file_name": f"{number:04}.png", "width": width, "height": height, "license": 1})
        for _ in range(0 if number == 2 else int(rng.integers(1, 5))):
            w, h = (int(side) for side in rng.integers(4, largest // 2, size=2))
            x, y = float(rng.integers(0, max(1, width - w))), float(rng.integers(0, max(1, height - h)))
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number * 11,
                    "category_id": int(rng.choice(list(CATEGORIES))),
                    "bbox": [x, y, w, h],
                    "area": float(w * h),
                    "iscrowd": int(rng.random() < 0.1),
                    "segmentation": [[0, 0, 1, 1, 2, 2]],
                }
            )
    categories = [{"id": number, "name": name, "supercategory": "shape"} for number, name in CATEGORIES.items()]
    return {"info": {"year": 2026}, "images": images, "annotations": boxes, "categories": categories}


def write_coco(folder: Path, document: dict[str, Any], *, seed: int = 0) -> Path:
    """Write annotations and their pictures, noise with its boxes drawn in, and return the folder."""
    rng = np.random.default_rng(seed)
    folder.joinpath("images").mkdir(parents=True)
    folder.joinpath("annotations.json").write_text(json.dumps(document))
    for image in document["images"]:
        pixels = rng.integers(0, 60, size=(image["height"], image["width"], 3), dtype=np.uint8)
        for box in document["annotations"]:
            if box["image_id"] == image["id"]:
                x, y, w, h = (int(side) for side in box["bbox"])
                pixels[y : y + h, x : x + w, list(CATEGORIES).index(box["category_id"])] = 220
        Image.fromarray(pixels).save(folder / "images" / image["file_name"])
    return folder
