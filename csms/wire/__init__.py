"""The only place that knows frames.

    gateway    websocket server: who is connected, pings, limits
    admission  the handshake's decision
    link       one connection of one station, both directions
    frames     the envelope [2, id, action, payload]: reading, repairing, answering
    schema     payloads: msgspec structs made from the JSON schemas of OCPP, lenient second reading
    ocpp16     requests of OCPP 1.6 (and its security extension) to events, outcomes to answers
    ocpp201    the same for OCPP 2.0.1; power201: what its cars ask for, and the profiles they get
    context    what both versions' readers share; common: readers and answers of both
    dispatch   one inbound frame: dedupe, look-ups, event, recorder, answer
    outside    what somebody else has to answer first: OCSP responders, the pool of contracts

    orders     requests of ours: which there are, whether one is valid, what an answer means
    outbox     orders from the queue to the stations of this node, and their answers back
    effects    what an order and its answer change on our side
    variables  what stations tell of their configuration; long orders in portions

    tls, certificates, badges   the gateway's TLS; and two jobs of the worker, which order what
               stations need: certificates, and what they keep of badges
    local_lists   how much of its list a station is told at once, in its version's words

A frame becomes an event of `csms.domain.events`; what comes back is an outcome, which becomes the
answer of the station's version. Nothing above this package sees a wire word, but for the orders
that people give in them.
"""
