"""Words of a command to recipes: what may be changed, for which inputs, and what is refused."""

import pytest

from cluster import presets
from cluster.words import recipes_of
from valence.errors import BadInput

RECIPES = presets.preset("quick").recipes


def test_a_bare_field_is_every_inputs_and_a_named_one_is_its_own():
    got = recipes_of("epochs=150, windows.augmentation_p=0.6,de.optimizer=adam,class_weights=true", RECIPES)
    assert (got["windows"].epochs, got["de"].epochs) == (150, 150)
    assert (got["windows"].augmentation_p, got["de"].augmentation_p) == (0.6, 0.0)
    assert (got["windows"].optimizer, got["de"].optimizer) == ("adamw", "adam")
    assert got["windows"].class_weights is True
    assert got["windows"].hash != RECIPES["windows"].hash
    assert recipes_of(None, RECIPES) == RECIPES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "FIELD=VALUE"),
        ("eeg.epochs=3", "INPUT.FIELD=VALUE"),
        ("epoch=3", "epochs"),
        ("epochs=many", "type int"),
        ("epochs=0", "1 or more"),
        ("learning_rate=nan", "finite"),
        ("batch_size=1", "2 or more"),
        ("augmentation_p=60", "0 to 1"),
        ("optimizer=sgd", "adamw, adam"),
        ("class_weights=yes", "true or false"),
        ("name=mine", "unknown"),
    ],
)
def test_refused(text, message):
    with pytest.raises(BadInput, match=message):
        recipes_of(text, RECIPES)
