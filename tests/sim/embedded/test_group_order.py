"""The order of a FIFO queue's messages is judged within their groups."""

from __future__ import annotations

import pytest

from sluice_sim.embedded.group_order import GroupOrder


@pytest.mark.parametrize(
    ("processed", "out_of_order"),
    [("abc", 0), ("cab", 0), ("bac", 1), ("bca", 1), ("aab", 0), ("abab", 1), ("x", 0)],
)
def test_a_message_is_out_of_order_after_a_later_one_of_its_group(processed: str, out_of_order: int) -> None:
    order = GroupOrder()
    for message_id, group in (("a", "one"), ("b", "one"), ("c", "two")):
        order.sent(message_id, group)
    for message_id in processed:
        order.processed(message_id)
    assert order.out_of_order == out_of_order
