"""Charge points that are none: for tests, demonstrations and measurements.

They share no code with the central system, so that a misunderstanding of the protocol is not
shared either. From the bottom up:

    faults, obedience, samples    what may go wrong, how orders are obeyed, what is measured: data
    settings, profiles, badges,   what a charge point keeps: configuration, power limits, lists,
    certificates, access          keys and roots, ways to connect: pure
    messages16, messages201       OCPP payloads of a charge point: pure functions
    model, outbox, agenda         EVSEs, sessions, messages; what is to be said, and done later
    telling, speaker, station     the charge point itself, without input or output
    orders, refusals, commands    its answers to the central system's calls, and what they do
    connecting, tls, clients,     the websocket: by the `ocpp` package or plain; reconnects,
    driver                        resends, reboots
    alone                         one station in real time
    fleet                         many stations: evening peak, cut network, reboots, wrong clocks,
                                  retransmissions, boot storm

    sessions, shifting        real sessions of the past, moved by whole weeks into the present
    synthetic                 sessions of the same shape, for want of the real ones
    replay                    both told as offline stations tell them

    ocpi_hub                  a roaming hub: what the operator's OCPI is tried with

    rawsocket, load_station, load   the load generator: prepared texts, nothing else
    cli                       all of it on the command line: `time2plug simulate`
    plain_server, bench       what the product is compared with, and the measurements:
                              `time2plug bench`

Nothing shipped imports this package but the verbs `demo`, `simulate` and `bench`.
"""
