#!/bin/sh
# Runs once, when the database's volume is empty: the roles and the database of the product. The owner
# migrates; the application's role owns nothing and becomes the machines' by name (csms/db.py says more). From template0, so
# that the extension is the owner's: `time2plug migrate` creates it (csms/timeseries.py says when).
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=owner_password="$T2P_OWNER_PASSWORD" --set=app_password="$T2P_APP_PASSWORD" <<'SQL'
CREATE ROLE t2p_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE t2p_app LOGIN NOINHERIT PASSWORD :'app_password';
CREATE ROLE t2p_service NOLOGIN;
GRANT t2p_service TO t2p_app;
CREATE DATABASE time2plug OWNER t2p_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE time2plug FROM PUBLIC;
GRANT CONNECT ON DATABASE time2plug TO t2p_app;
SQL
