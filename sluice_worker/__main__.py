"""Run with `python -m sluice_worker`."""

from sluice_worker.command import main
from sluice_worker.runtime.loops import exit_process

try:
    main(prog_name="python -m sluice_worker")
except SystemExit as done:
    exit_process(done)
