"""OCPI 2.2.1 as a CPO behind a hub, and beside it with other partners.

Pure: `objects` has the shapes of the specification (branch release-2.2.1-bugfixes), written
strictly and read leniently, `kinds` their texts, times and words; `places` makes Locations of
sites, `prices` Tariffs of ours, `cdrs` says what a priced session used and cost.

    partners      who they are, and how they register (either way)
    client        requests to them
    changes       what is not as they were told: places, statuses, tariffs, sessions, CDRs
    telling       that, and what became of their orders, over outlets
    authorizing   may this driver of theirs charge here; handed to the recorder from above
    ordering      sessions begun and ended for them
    listing       what they fetch

csms.web.ocpi_server answers them. A session of theirs is one of ours in all else: its driver is the
partner's account, to which it is priced and invoiced.
"""
