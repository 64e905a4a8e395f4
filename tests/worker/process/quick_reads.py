"""`python -m tests.worker.process.quick_reads`: the worker, which often reads its draining color."""

from sluice_worker.command import main
from sluice_worker.runtime import draining_color

if __name__ == "__main__":
    draining_color.READ_INTERVAL_S = 0.5
    main(prog_name="python -m tests.worker.process.quick_reads")
