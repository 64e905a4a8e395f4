"""Which span a message's trace continues: X-Ray's header, `traceparent`, or none."""

from __future__ import annotations

import pytest
from opentelemetry.trace import get_current_span

from sluice_worker.otlp.parents import Parent, parent

ROOT, SPAN = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
TRACE = int("5759e988bd862e3fe1be46a994272793", 16)
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def of(header: str | None = None, *, samples: bool = True, **attributes: str | bytes) -> Parent:
    return parent(attributes, header, lambda _: samples)


def context(found: Parent) -> tuple[int, int, bool]:
    """Trace, span and whether it is sampled."""
    one = get_current_span(found.context).get_span_context()
    return one.trace_id, one.span_id, one.trace_flags.sampled


NONE = (0, 0, False)


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"Root={ROOT};Parent={SPAN};Sampled=1", True),
        (f"Root={ROOT};Parent={SPAN};Sampled=0", False),
        (f"Root={ROOT}; Parent={SPAN}; Sampled=1; Lineage=a87bd80c:0", True),
        (f"Self=1-00000000-000000000000000000000000;Root={ROOT};Parent={SPAN};Sampled=1", True),
    ],
)
def test_the_x_ray_header_names_parent_and_sampling(header: str, sampled: bool) -> None:
    assert context(of(header)) == (TRACE, int(SPAN, 16), sampled)


@pytest.mark.parametrize("undecided", ["", ";Sampled=?", ";Sampled="])
@pytest.mark.parametrize("samples", [True, False])
def test_a_header_that_leaves_sampling_to_the_receiver_gets_it_decided(undecided: str, samples: bool) -> None:
    assert context(of(f"Root={ROOT};Parent={SPAN}{undecided}", samples=samples))[2] is samples


def test_a_header_without_a_parent_makes_a_root_of_its_trace() -> None:
    found = of(f"Root={ROOT};Sampled=1")
    assert (context(found), found.trace_id) == (NONE, TRACE)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Root=",
        "Root=1-xyz;Sampled=1",
        "nonsense",
        f"Root={ROOT};Parent=xyz;Sampled=1",
        "=;=;=",
        "Root=" * 1000,
    ],
)
def test_a_header_that_cannot_be_read_is_none(header: str | None) -> None:
    assert context(of(header)) == NONE
    assert of(header).trace_id is None


def test_traceparent_wins_and_the_headers_trace_is_linked() -> None:
    found = of(f"Root={ROOT};Parent={SPAN};Sampled=1", traceparent=OTHER)
    assert context(found) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)
    assert [link.context.trace_id for link in found.links] == [TRACE]


@pytest.mark.parametrize("unreadable", ["nonsense", "", b"bytes", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_traceparent_that_cannot_be_read_leaves_the_header(unreadable: str | bytes) -> None:
    assert context(of(f"Root={ROOT};Parent={SPAN};Sampled=1", traceparent=unreadable))[0] == TRACE
