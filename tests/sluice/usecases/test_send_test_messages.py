import json

import pytest

from sluice.errors import ConfigError
from sluice.events import parse_test_load
from sluice.ports import Counter
from sluice.usecases.send_test_messages import send_test_messages
from tests.support.builders import workload
from tests.support.fakes import FakeAccount


def test_every_message_says_how_long_it_takes(account: FakeAccount) -> None:
    served = account.add_workload(workload())
    load = parse_test_load({"workload": served.name, "messages": 3, "duration_s": 1.5})
    send_test_messages(load, account.ports, account.report, account.remaining_s)
    assert [json.loads(body) for body in account.queues.sent[served.queue_url]] == [{"duration_s": 1.5}] * 3
    assert account.report.counts == {Counter.MESSAGES_SENT: 3}


def test_an_unknown_workload_is_refused(account: FakeAccount) -> None:
    with pytest.raises(ConfigError, match="no workload nobody is registered"):
        send_test_messages(
            parse_test_load({"workload": "nobody"}), account.ports, account.report, account.remaining_s
        )
