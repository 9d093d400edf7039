"""Charge points that are none: for tests, demonstrations and measurements.

They share no code with the central system, so that a misunderstanding of the protocol is not
shared either. From the bottom up:

    faults, samples           what may go wrong, what is measured: plain data
    messages16, messages201   OCPP payloads of a charge point: pure functions
    model, station            the charge point itself, without input or output, and its own count
    commands                  its answers to the central system's calls
    clients, driver           the websocket: by the `ocpp` package or plain; reconnects, resends
    fleet                     many stations: evening peak, cut network, reboots, wrong clocks,
                              retransmissions, boot storm

    sessions, shifting        real sessions of the past, moved by whole weeks into the present
    synthetic                 sessions of the same shape, for want of the real ones
    replay                    both told as offline stations tell them

    rawsocket, load_station, load   the load generator: prepared texts, nothing else
    cli                       all of it on the command line: `time2plug simulate`
    plain_server, bench       what the product is compared with, and the measurements:
                              `time2plug bench`

Nothing shipped imports this package but the verbs `demo`, `simulate` and `bench`.
"""
