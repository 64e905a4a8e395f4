import pytest

from sluice_worker.core.model import Priority, Queue
from tests.support.builders import queue_url


@pytest.mark.parametrize(("name", "is_fifo"), [("uploads", False), ("uploads.fifo", True), ("fifo", False)])
def test_a_queue_is_known_by_its_url(name: str, is_fifo: bool) -> None:
    queue = Queue(url=queue_url(name))
    assert (queue.name, queue.is_fifo) == (name, is_fifo)
    assert (queue.priority, queue.weight) == (Priority.MEDIUM, 1.0)


def test_priorities_stand_in_the_order_of_service() -> None:
    """The buffer and the schedule go by it."""
    assert list(Priority) == [Priority.HIGH, Priority.MEDIUM, Priority.LOW]
