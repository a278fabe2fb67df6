"""How well detectors find what is in pictures: average precision as COCO counts it, beside the network, with intervals."""
