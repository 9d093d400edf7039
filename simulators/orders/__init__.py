"""The orders of a central system, as a simulated charge point carries them out, by subject.

    answer          what every order's answer is made of
    sessions        remote start and stop, unlock, availability, reset, running cost
    reserve         reservations, local list, cache
    charging        charging profiles and the composite schedule
    configuration   keys, variables, network profiles: also how the station connects from then on
    reports         what is told in several messages: device model, monitors, customer, displays
    files           logs, firmware
    security        certificates
    trigger         TriggerMessage

Handlers are `(station, payload, now) -> Answer`: they look, and change nothing that has not to be
changed before the answer is out; what follows the answer is its effect. All payloads are in wire
form. `simulators.commands` has the tables.
"""
