-- How many rows of each kind there are, without counting them: triggers write what a statement changes, and a job folds
-- the changes into the tally. The sum of both is exact in every snapshot, and no transaction waits for another's count.

CREATE TABLE tally (
    what       text NOT NULL,
    tenant_id  text NOT NULL,
    key        text NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (what, tenant_id, key)
);

CREATE TABLE tally_change (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what       text NOT NULL,
    tenant_id  text NOT NULL,
    key        text NOT NULL,
    n          bigint NOT NULL
);
ALTER TABLE tally_change SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- TG_ARGV: what is counted, and the columns that make its key.
CREATE FUNCTION keep_tally() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key text := (SELECT string_agg(quote_ident(name), $q$ || ' ' || $q$ ORDER BY at)
                   FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS names (name, at));
    rows text := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT tenant_id, %s AS key, 1 AS one FROM fresh', key)
        WHEN 'DELETE' THEN format('SELECT tenant_id, %s AS key, -1 AS one FROM gone', key)
        ELSE format('SELECT tenant_id, %1$s AS key, 1 AS one FROM fresh UNION ALL SELECT tenant_id, %1$s, -1 FROM gone',
                    key)
    END;
BEGIN
    EXECUTE format(
        'INSERT INTO %I.tally_change (what, tenant_id, key, n) '
        'SELECT %L, tenant_id, key, sum(one) FROM (%s) AS rows GROUP BY tenant_id, key HAVING sum(one) <> 0',
        TG_TABLE_SCHEMA, TG_ARGV[0], rows
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION begin_tally(counted regclass, what text, VARIADIC columns text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    arguments text := (SELECT string_agg(quote_literal(word), ', ' ORDER BY at)
                         FROM unnest(what || columns) WITH ORDINALITY AS words (word, at));
    key text := (SELECT string_agg(quote_ident(name), $q$ || ' ' || $q$ ORDER BY at)
                   FROM unnest(columns) WITH ORDINALITY AS names (name, at));
BEGIN
    EXECUTE format('CREATE TRIGGER tally_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS fresh '
                   'FOR EACH STATEMENT EXECUTE FUNCTION keep_tally(%s)', counted, arguments);
    EXECUTE format('CREATE TRIGGER tally_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS gone NEW TABLE AS fresh '
                   'FOR EACH STATEMENT EXECUTE FUNCTION keep_tally(%s)', counted, arguments);
    EXECUTE format('CREATE TRIGGER tally_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS gone '
                   'FOR EACH STATEMENT EXECUTE FUNCTION keep_tally(%s)', counted, arguments);
    EXECUTE format('INSERT INTO tally (what, tenant_id, key, n) SELECT %L, tenant_id, %s, count(*) FROM %s '
                   'GROUP BY tenant_id, %s', what, key, counted, key);
END
$$;

SELECT begin_tally('alarm', 'alarms', 'kind', 'state');
SELECT begin_tally('quarantine', 'quarantined', 'reason');
SELECT begin_tally('inbox', 'inbox', 'state');
SELECT begin_tally('service_case', 'cases', 'state');
SELECT begin_tally('outbox_message', 'outbox', 'state');
DROP FUNCTION begin_tally;

-- Cases that no CRM is to hear of any more are few among many.
CREATE INDEX case_endpoint_withdrawn ON case_endpoint (tenant_id, case_id) WHERE state IN ('withdrawn', 'taken_back');
CREATE INDEX inbox_parked ON inbox (tenant_id) WHERE state = 'parked';
CREATE INDEX outbox_stream_parked ON outbox_stream (tenant_id) WHERE state = 'parked';
