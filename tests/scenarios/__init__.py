"""Failing surroundings in real processes: the service, stations under load, and the audit.

    service   `time2plug serve` as a process of its own, and its database; both can be struck
    load      simulated stations that charge all the time and remember what was acknowledged
    audit     the stations' memory against the database, to the watt-hour

`tests.chaos` plays with them at length, `tests/test_crash.py` in short.
"""
