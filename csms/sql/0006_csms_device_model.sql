-- What stations say of their own configuration: variables of the device model (2.0.1), keys (1.6,
-- with no component). The newest value of each; secrets are left out.
CREATE TABLE station_variable (
    station_key        integer NOT NULL REFERENCES station ON DELETE CASCADE,
    component          text NOT NULL,                     -- '' in 1.6
    component_instance text NOT NULL DEFAULT '',
    evse_id            integer NOT NULL DEFAULT 0,        -- 0: the station as a whole
    connector_id       integer NOT NULL DEFAULT 0,        -- 0: none is named
    variable           text NOT NULL,
    variable_instance  text NOT NULL DEFAULT '',
    attribute          text NOT NULL DEFAULT 'Actual',    -- Actual, Target, MinSet, MaxSet
    value              text,                              -- null: it has none, or does not tell
    mutability         text,                              -- ReadOnly, WriteOnly, ReadWrite
    reported_at        timestamptz NOT NULL,
    PRIMARY KEY (station_key, component, component_instance, evse_id, connector_id, variable,
                 variable_instance, attribute)
);

GRANT SELECT, INSERT, UPDATE ON station_variable TO t2p_app;
