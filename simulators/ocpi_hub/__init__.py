"""An OCPI 2.2.1 hub for tests and demonstrations, which behaves as GIREVE's guide says.

It plays what a charge point operator (CPO) is connected to: the roaming platform and the mobility
providers behind it. Written from the specification alone; it shares no code with the product.
Whatever breaks the specification or the guide is answered as they say, and put in words on
`complaints`. From the bottom up:

    shapes      what every object must look like, field by field: pure
    held        what the hub was told, and whether one telling may follow another: pure
    wire        HTTP: requests read, answers written, connections kept, faults
    calling     requests of the hub to the CPO, and what is checked of every answer
    link        tokens, endpoints, and the handshake from both sides
    receiving   what a CPO may ask of the hub: headers, modules, answers
    pages       lists of the CPO, page by page
    hub         all of it: `OcpiHub`
    watching    the same on the command line: `time2plug simulate ocpi-hub`
"""

from simulators.ocpi_hub.calling import HubComplaint
from simulators.ocpi_hub.hub import CommandResponse, CommandResult, OcpiHub

__all__ = ["CommandResponse", "CommandResult", "HubComplaint", "OcpiHub"]
