-- What the fleet's page reads of the alarms of some weeks, without the alarms themselves.
CREATE INDEX alarm_of_fleet ON alarm (tenant_id, raised_at) INCLUDE (device_id, state);
CREATE INDEX alarm_silence ON alarm (tenant_id, raised_at) INCLUDE (device_id, state, ended_at) WHERE kind = 'silence';
CREATE INDEX incident_member_device ON incident_member (incident_id, device_id) INCLUDE (alarm_id);
