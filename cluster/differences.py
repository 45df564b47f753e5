"""Plans of a store to lines that say where its cells are not of one kind: other program, recipe, data or split."""

from collections import Counter
from collections.abc import Sequence

from valence.cell import SCIENCE_VERSION

FIELDS = {
    "science": "science version",
    "dataset_hash": "data",
    "recipe_hash": "recipe",
    "split": "split",
    "weights": "pretrained weights",
}
"""fields of a cell that are one for all cells of a classifier on a data set, unless something was changed between
commands; in words"""


def differences(cells: Sequence[dict], plans: Sequence[dict]) -> list[str]:
    """Which fields differ between cells that a reader would take for comparable, a line each; none where all is well.

    Parameters
    ----------
    cells : with their ids, each once.
    plans : of Store.plans; they hold the recipes.
    """
    recipes = {digest: recipe for plan in plans for digest, recipe in plan.get("recipes", {}).items()}
    lines = []
    for name, word in FIELDS.items():
        groups: dict[tuple, Counter] = {}
        for cell in cells:
            groups.setdefault((cell["dataset"], cell["classifier"]), Counter())[cell[name]] += 1
        mixed = {tuple(sorted(map(str, counts))): counts for counts in groups.values() if len(counts) > 1}
        for values, counts in mixed.items():
            n_classifiers = sum(tuple(sorted(map(str, other))) == values for other in groups.values())
            held = ", ".join(f"{value or 'none'} ({counts[value]} cells)" for value in sorted(counts, key=str))
            more = f" each of {n_classifiers} classifiers" if n_classifiers > 1 else ""
            what = _recipe_fields([recipes[value] for value in counts if value in recipes])
            lines.append(f"{word} differs: {held}{more}{what}; they are compared among themselves only")
    old = Counter(cell["science"] for cell in cells if cell["science"] != SCIENCE_VERSION)
    for science, n_cells in sorted(old.items()):
        lines.append(
            f"{n_cells} cells are of science version {science}, this program's is {SCIENCE_VERSION}: not reused"
        )
    return lines


def _recipe_fields(recipes: Sequence[dict]) -> str:
    """Fields in which recipes differ, with their values."""
    if len(recipes) < 2:
        return ""
    names = [name for name in recipes[0] if name != "name" and len({repr(recipe.get(name)) for recipe in recipes}) > 1]
    values = (f"{name} {' or '.join(str(recipe.get(name)) for recipe in recipes)}" for name in names)
    return f": {', '.join(values)}"
