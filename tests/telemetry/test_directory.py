"""The directory as metrics and logs see it."""

from __future__ import annotations

import asyncio
import json

import pytest

from entrepot.domain.errors import Unavailable
from entrepot.telemetry.directory import ObservedDirectory
from entrepot.telemetry.logs import configure_logs
from entrepot.telemetry.metrics import Meter
from tests.support.directory import AWAY, FakeDirectory


def test_logins_are_counted_and_absence_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """Each login by its result; a server that goes away is a line, and one more when it is back."""
    configure_logs("info")
    fake, meter = FakeDirectory(), Meter()
    fake.put("erin")
    observed = ObservedDirectory(fake, meter)

    async def story() -> None:
        assert await observed.log_in("erin", "erin-secret") is not None
        assert await observed.log_in("erin", "wrong") is None
        assert list(await observed.find(["erin", "none"])) == ["erin"]
        fake.is_away = True
        for _ in range(2):
            with pytest.raises(Unavailable):
                await observed.log_in("erin", "erin-secret")
        away = meter.render({}).decode()
        fake.is_away = False
        await observed.log_in("erin", "erin-secret")
        await observed.close()
        assert 'entrepot_directory_away{kind="ldap://fake"} 1.0' in away

    asyncio.run(story())
    text = meter.render({}).decode()
    for result, number in (("proven", 2), ("refused", 1), ("unavailable", 2)):
        assert f'entrepot_directory_logins_total{{result="{result}"}} {number}.0' in text
    assert "entrepot_directory_away{" not in text
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("directory away", AWAY),
        ("directory back", None),
    ]
    assert observed.away() == {"ldap://fake": AWAY}
