"""One valid payload for each order that a central system may give, by version and action."""

from typing import Any

from simulators.model import OCPP16, OCPP201

TOKEN = {"idToken": "BADGE", "type": "ISO14443"}
SOON = "2026-11-22T18:00:00Z"
LATER = "2030-01-01T00:00:00Z"
HASH = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "ab" * 32,
    "issuerKeyHash": "cd" * 32,
    "serialNumber": "1f",
}
LOG = {"remoteLocation": "https://files.example/logs"}
FIRMWARE = {"location": "https://files.example/fw-2.bin", "retrieveDateTime": SOON}
VARIABLE = {
    "component": {"name": "OCPPCommCtrlr"},
    "variable": {"name": "HeartbeatInterval"},
}
MESSAGE = {
    "id": 1,
    "priority": "NormalCycle",
    "message": {"format": "UTF8", "content": "Bonjour"},
}
PROFILE = {
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute",
}
SCHEDULE = {
    "chargingRateUnit": "A",
    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}],
}

ORDERS: dict[str, dict[str, dict[str, Any]]] = {
    OCPP16: {
        "CancelReservation": {"reservationId": 1},
        "CertificateSigned": {"certificateChain": "none"},
        "ChangeAvailability": {"connectorId": 2, "type": "Operative"},
        "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "60"},
        "ClearCache": {},
        "ClearChargingProfile": {"id": 5},
        "DataTransfer": {"vendorId": "somebody"},
        "DeleteCertificate": {"certificateHashData": HASH},
        "ExtendedTriggerMessage": {"requestedMessage": "Heartbeat"},
        "GetCompositeSchedule": {"connectorId": 1, "duration": 3600},
        "GetConfiguration": {"key": ["HeartbeatInterval"]},
        "GetDiagnostics": {"location": "ftp://files.example"},
        "GetInstalledCertificateIds": {"certificateType": "CentralSystemRootCertificate"},
        "GetLocalListVersion": {},
        "GetLog": {"requestId": 1, "logType": "SecurityLog", "log": LOG},
        "InstallCertificate": {
            "certificateType": "CentralSystemRootCertificate",
            "certificate": "none",
        },
        "RemoteStartTransaction": {"idTag": "BADGE", "connectorId": 2},
        "RemoteStopTransaction": {"transactionId": 99},
        "ReserveNow": {
            "connectorId": 1,
            "expiryDate": LATER,
            "idTag": "BADGE",
            "reservationId": 9,
        },
        "Reset": {"type": "Hard"},
        "SendLocalList": {
            "listVersion": 3,
            "updateType": "Full",
            "localAuthorizationList": [{"idTag": "B", "idTagInfo": {"status": "Accepted"}}],
        },
        "SetChargingProfile": {
            "connectorId": 1,
            "csChargingProfiles": {"chargingProfileId": 5, "chargingSchedule": SCHEDULE, **PROFILE},
        },
        "SignedUpdateFirmware": {
            "requestId": 2,
            "firmware": {**FIRMWARE, "signingCertificate": "none", "signature": "x"},
        },
        "TriggerMessage": {"requestedMessage": "MeterValues", "connectorId": 1},
        "UnlockConnector": {"connectorId": 1},
        "UpdateFirmware": {"location": "ftp://files.example/fw-2.bin", "retrieveDate": LATER},
    },
    OCPP201: {
        "CancelReservation": {"reservationId": 1},
        "CertificateSigned": {"certificateChain": "none"},
        "ChangeAvailability": {"operationalStatus": "Operative", "evse": {"id": 2}},
        "ClearCache": {},
        "ClearChargingProfile": {"chargingProfileId": 5},
        "ClearDisplayMessage": {"id": 1},
        "ClearVariableMonitoring": {"id": [1]},
        "CostUpdated": {"totalCost": 2.5, "transactionId": "T"},
        "CustomerInformation": {
            "requestId": 1,
            "report": True,
            "clear": False,
            "idToken": TOKEN,
        },
        "DataTransfer": {"vendorId": "somebody"},
        "DeleteCertificate": {"certificateHashData": HASH},
        "GetBaseReport": {"requestId": 2, "reportBase": "FullInventory"},
        "GetChargingProfiles": {"requestId": 3, "chargingProfile": {}},
        "GetCompositeSchedule": {"duration": 3600, "evseId": 1},
        "GetDisplayMessages": {"requestId": 4},
        "GetInstalledCertificateIds": {},
        "GetLocalListVersion": {},
        "GetLog": {"requestId": 5, "logType": "DiagnosticsLog", "log": LOG},
        "GetMonitoringReport": {"requestId": 6},
        "GetReport": {"requestId": 7},
        "GetTransactionStatus": {},
        "GetVariables": {"getVariableData": [VARIABLE]},
        "InstallCertificate": {"certificateType": "CSMSRootCertificate", "certificate": "none"},
        "PublishFirmware": {
            "location": "https://files.example/fw",
            "checksum": "a" * 32,
            "requestId": 8,
        },
        "RequestStartTransaction": {"idToken": TOKEN, "remoteStartId": 9, "evseId": 2},
        "RequestStopTransaction": {"transactionId": "nobody"},
        "ReserveNow": {"id": 9, "expiryDateTime": LATER, "idToken": TOKEN, "evseId": 1},
        "Reset": {"type": "Immediate"},
        "SendLocalList": {
            "versionNumber": 3,
            "updateType": "Full",
            "localAuthorizationList": [
                {"idToken": TOKEN, "idTokenInfo": {"status": "Accepted"}},
            ],
        },
        "SetChargingProfile": {
            "evseId": 1,
            "chargingProfile": {"id": 5, "chargingSchedule": [{"id": 1, **SCHEDULE}], **PROFILE},
        },
        "SetDisplayMessage": {"message": MESSAGE},
        "SetMonitoringBase": {"monitoringBase": "All"},
        "SetMonitoringLevel": {"severity": 4},
        "SetNetworkProfile": {
            "configurationSlot": 2,
            "connectionData": {
                "ocppVersion": "OCPP20",
                "ocppTransport": "JSON",
                "ocppCsmsUrl": "ws://127.0.0.1:1/ocpp",
                "messageTimeout": 30,
                "securityProfile": 1,
                "ocppInterface": "Wired0",
            },
        },
        "SetVariableMonitoring": {
            "setMonitoringData": [
                {"value": 60, "type": "UpperThreshold", "severity": 5, **VARIABLE},
            ]
        },
        "SetVariables": {"setVariableData": [{**VARIABLE, "attributeValue": "60"}]},
        "TriggerMessage": {"requestedMessage": "MeterValues", "evse": {"id": 1}},
        "UnlockConnector": {"evseId": 1, "connectorId": 1},
        "UnpublishFirmware": {"checksum": "b" * 32},
        "UpdateFirmware": {
            "requestId": 10,
            "firmware": {**FIRMWARE, "retrieveDateTime": LATER},
        },
    },
}
