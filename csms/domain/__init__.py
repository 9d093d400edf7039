"""What charging is, without wires, clocks or databases (standard library only).

    values    units, identifiers, how a register becomes watt-hours
    clock     what time is believed of a station
    metering  what a list of sampled values means (profiles), one reading
    events    what a station can tell us, free of any protocol version
    session   a charging session: its state table and its energy
    station   a station: its EVSEs, their status table, its clock, the sessions it has open
    attribution  which session an event belongs to
    order_secrets  passwords in orders, and orders without them
    quirks    known faults of makes, as data
    contract  a management contract: its dates, notices and state table
    services  the options of article 5.4, and how a closed one is told
    back_off  when what failed is tried again
    spreadsheet  what a cell may not begin with
    balancing comes with energy management

Events go in, states change, outcomes come out; whoever calls keeps the time and the store.
"""
