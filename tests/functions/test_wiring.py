from collections.abc import Iterator

import pytest

from sluice import wiring
from sluice.errors import ConfigError

SETTINGS = {"SLUICE_REGISTRY_PREFIX": "/sluice/workloads", "SLUICE_METRIC_NAMESPACE": "Sluice"}


@pytest.fixture(autouse=True)
def _cold() -> Iterator[None]:
    wiring.cold_start()
    yield
    wiring.cold_start()


@pytest.mark.parametrize("absent", SETTINGS)
@pytest.mark.parametrize("emptied", [True, False])
def test_a_missing_setting_is_named(absent: str, emptied: bool) -> None:
    environ = {name: value for name, value in SETTINGS.items() if name != absent}
    if emptied:
        environ[absent] = ""
    with pytest.raises(ConfigError, match=f"environment lacks {absent}: template.yaml sets them"):
        wiring.world(environ)


def test_all_missing_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match="SLUICE_REGISTRY_PREFIX, SLUICE_METRIC_NAMESPACE"):
        wiring.world({})


def test_a_warm_process_keeps_its_world_and_a_cold_one_builds_it_anew() -> None:
    first = wiring.world(SETTINGS)
    assert wiring.world(dict(SETTINGS)) is first
    assert first.namespace == "Sluice"
    wiring.cold_start()
    assert wiring.world(SETTINGS) is not first


def test_the_clock_is_utc() -> None:
    offset = wiring.now().utcoffset()
    assert offset is not None
    assert not offset


def test_reading_stops_in_time_to_publish_and_act() -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 50_000

    assert wiring.remaining_s(Context())() == 35
