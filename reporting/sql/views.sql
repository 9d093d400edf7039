-- Views of reporting; made anew after every migration.

-- Points that QualiCharge knows, since when without a break: nothing that happened before is told.
CREATE VIEW qualicharge_declared WITH (security_invoker = true) AS
SELECT i.object_key AS evse_uid, min(i.created_at) AS since_at, min(i.id) AS first_item_id
  FROM outlet_item i
 WHERE i.outlet = 'qualicharge.static' AND i.kind = 'declare' AND i.status = 'sent'
   AND NOT EXISTS (SELECT FROM outlet_item w
                    WHERE w.outlet = i.outlet AND w.object_key = i.object_key
                      AND w.kind = 'withdraw' AND w.status IN ('waiting', 'sent') AND w.id > i.id)
 GROUP BY i.object_key;
GRANT SELECT ON qualicharge_declared TO t2p_service;
