"""A command of its own that runs cells which train nothing: python noop_driver.py FOLDER N_CELLS [N_SLOTS [URL]]."""

import logging
import sys
from pathlib import Path

from cluster.session import prepare_environment
from cluster.store import Store
from valence.errors import BadInput


def main(folder, n_cells, n_slots=2, url=None):
    """Run what is not committed yet; prints cells reported, and what was lost."""
    prepare_environment()
    import ray

    from cluster.sweep import run_packs
    from tests.cluster.noop_cells import make_cells, make_context, make_packs

    context = make_context(folder, url)
    committed = Store(folder, url).committed()
    waiting = [cell for cell in make_cells(n_cells) if cell.cell_id not in committed]
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        address="local", num_cpus=n_slots, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
    )
    seen = []
    try:
        lost = run_packs(make_packs(waiting), context=context, gpus_per_pack=0, on_cell=seen.append)
    except BadInput as error:
        print(f"error: {error}", flush=True)
        return 2
    print(len(seen), lost, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:4]), *sys.argv[4:]))
