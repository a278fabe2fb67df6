#!/usr/bin/env python3
"""Convert an EdgeViT checkpoint into verified deployment bundles: `python convert.py --help`."""

from edgevit_deploy.__main__ import main

if __name__ == "__main__":
    main()
