-- In which words careloop itself last put a record: seen there again, nobody of the CRM's has done anything.

ALTER TABLE external_ref ADD COLUMN put_as text[] NOT NULL DEFAULT '{}';
