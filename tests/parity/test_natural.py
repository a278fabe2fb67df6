"""Drawn pictures for quantised files: more where a file returns little for each, and the first of them always the same."""

import numpy as np
import pytest

from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.parity.natural import VALUES, natural_probes, pictures_for

PREPROCESS = find_variant("edgevit_xxs").preprocess


@pytest.mark.parametrize(("classes", "pictures"), [(1, 256), (10, 256), (40, 64), (1000, 32), (100_000, 32)])
def test_few_classes_take_more_pictures(classes, pictures):
    assert pictures_for(classes) == pictures


@pytest.mark.parametrize("classes", [10, 11, 37, 80])
def test_enough_values_are_compared(classes):
    assert pictures_for(classes) * classes >= VALUES


def test_more_pictures_begin_with_the_same_ones():
    few, many = (natural_probes((64, 64), PREPROCESS, "tensor", 0, count) for count in (4, 9))
    assert many.names[:4] == few.names
    np.testing.assert_array_equal(many.inputs[:4], few.inputs)
    assert len({image.tobytes() for image in many.inputs}) == 9
