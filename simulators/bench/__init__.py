"""What the product does per second of CPU, and how late: `make bench`, `time2plug bench`.

    machine      what /proc says: CPU of process trees, memory, what else the machine was doing
    processes    the product, the two servers it is compared with, the load generator: each a
                 process of its own
    provision    the stations of a run, and the count of what the database holds after it
    messages     durable messages per CPU second, beside the plain way and a bare echo
    open_loop    how late answers are at half of the maximum rate
    storm        thousands of stations at once; memory of each
    cluster      several gateways on one database
    nodes        what they do together, idle stations; orders: from node to node
    boot         from nothing to ready, and back after a kill -9
    api          how late the API answers, with very many sessions behind it
    api_data     those sessions, and whose they are
    web_client   who asks
    billing      a month of sessions priced, invoiced and closed; billing_data: that month
    report       the tables; report_api, report_billing: those of these two
    command      the command line

The product runs as it would for anybody: `python -m csms serve --only gateway` with its embedded
database in a directory that is removed afterwards, all settings at their defaults.
"""

from simulators.bench.command import main

__all__ = ["main"]
