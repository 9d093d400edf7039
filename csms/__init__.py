"""The supervision of charging points: stations, sessions, people, and the way in.

What flows where:

    frame > wire.dispatch > domain.events > recorder > session, meter_reading, evse_status,
                                                       ocpp_message (PostgreSQL)
    people, machines > web, cli > registry, store > the same tables
    contracts, options, notices > clients, contracts > what csms.services says is open to a client
    order > command (PostgreSQL) > wire.outbox of the node that holds the station > frame;
                                                answer > command, and what follows from it
    person > web.guard > principals (by key or log-in) > operations; own_account, accounts, logins
    driver > points, remote, booking, live > orders and reservations; what she charged > my_session
    driver_groups, driver_badges > token and its rights > authorization, lists of stations
    worker > maintenance, store: what must happen without anybody asking
    unpaid invoices (a view of billing's) > authorization, lists of stations, unpaid (the words)
    announce, or what the worker finds > notification > notifications.delivery > mail, webhook

Who may import whom (downwards only, checked in the tests):

    __main__, cli, demo          the command `time2plug`
    serve                        a whole process: gateway, web and worker
    worker, web
    (reporting, billing: packages of their own)
    live, booking, remote        sessions followed, reservations, starts and stops by drivers
    wire                         the only place that knows frames
    retention, privacy, own_data personal data: periods, rights, what one is given of one's own
    driver_badges, driver_groups, drivers: who charges, with what, where and when
    agreed, contracts, clients   what is agreed with clients, over registry
    own_account, accounts, logins: people, how they get in; second_factor, throttle, password_work
    principals, keys             who asks, and what they may do
    registry, site_registry, static_history: what people decide, and the history of it
    recorder, commands, authorization, telemetry, notifications, ...
    services                     what is open to a client, now
    store                        the SQL of csms
    db, timeseries, embedded     the way into PostgreSQL
    whole                        what is ended though it is cancelled
    config, deadlines            every setting and limit; the calendar
    static_data                  what is known of sites and points: shapes, rules, what is missing
    domain                       what charging is; pure
"""
