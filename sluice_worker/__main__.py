"""Run with `python -m sluice_worker`."""

from sluice_worker.command import main

main(prog_name="python -m sluice_worker")
