-- Appends one batch, whatever it asks for. Each statement in here sees what was
-- committed before it began, so what is decided after the locks is decided on
-- what they protect. A refusal leaves nothing, and the transaction usable.
--
-- Each stream is looked up by itself: without statistics the server would rather walk all
-- of them.
--
-- Locks are taken in one order by everybody: the buckets by number, the floor,
-- the rows of the streams by key, the ids of the appends.
CREATE FUNCTION {schema}.append_one(
    store integer, owner text, now timestamptz,
    buckets integer[], exclusive boolean[],
    streams text[],
    write_stream text[], write_added bigint[], write_expected bigint[], write_append uuid[],
    append_ids uuid[],
    event_write integer[], event_offset bigint[], types text[], schema_versions bigint[],
    content_types text[], ids uuid[], tags text[], metadata text[], correlations bigint[],
    payloads bytea[],
    claim_scope text[], claim_key text[], claim_holder text[], claim_take boolean[],
    unless_after bigint[], unless_types text[], unless_tags text[],
    folded text[],
    OUT outcome text, OUT number bigint, OUT holder text,
    OUT versions bigint[], OUT positions bigint[]
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    seen bigint;
    lowest bigint;
    wanted_types text[];
    wanted_tags text[];
BEGIN
    -- A snapshot older than the locks would not show what they have waited for.
    IF cardinality(unless_after) + cardinality(claim_scope) > 0
        AND current_setting('transaction_isolation') <> 'read committed'
    THEN
        outcome := 'outdated';
        RETURN;
    END IF;
    outcome := 'written';

    PERFORM CASE WHEN lock.alone THEN pg_advisory_xact_lock(store, lock.bucket)
            ELSE pg_advisory_xact_lock_shared(store, lock.bucket) END
    FROM unnest(buckets, exclusive) AS lock (bucket, alone);
    PERFORM pg_advisory_xact_lock_shared((store::bigint << 48) | last_value)
    FROM {schema}.positions;
    INSERT INTO {schema}.streams (tenant, stream, version, expected)
    SELECT owner, one, 0, 0 FROM unnest(streams) AS one
    ON CONFLICT DO NOTHING;
    PERFORM FROM {schema}.streams AS s WHERE s.tenant = owner AND s.stream = ANY (streams)
    ORDER BY s.stream FOR NO KEY UPDATE;

    IF EXISTS (SELECT FROM {schema}.appends AS a WHERE a.tenant = owner AND a.id = ANY (append_ids))
    THEN
        outcome := 'repeated';
        RAISE EXCEPTION USING ERRCODE = 'GE002';
    END IF;

    -- Whoever hands a model over lets nobody write `streams` until its commit: this
    -- statement sees it, or it has seen this append. The caller folds some models itself.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM FROM {schema}.inline_models AS i WHERE i.model = '' FOR SHARE;
    END IF;
    SELECT i.model INTO holder FROM {schema}.inline_models AS i
    WHERE i.types && types AND i.model <> ALL (folded) AND {schema}.is_inline(i.model)
    LIMIT 1;
    IF FOUND THEN
        outcome := 'model';
        RAISE EXCEPTION USING ERRCODE = 'GE002';
    END IF;

    SELECT w.ordinal, s.version INTO number, seen
    FROM unnest(write_stream, write_added, write_expected)
        WITH ORDINALITY AS w (stream, added, expected, ordinal)
    CROSS JOIN LATERAL (SELECT s.version FROM {schema}.streams AS s
        WHERE s.tenant = owner AND s.stream = w.stream LIMIT 1) AS s
    WHERE NOT CASE WHEN s.version = 9223372036854775807 THEN false
        WHEN w.expected = -1 THEN true WHEN w.expected = -2 THEN s.version + w.added > 0
        ELSE s.version + w.added = w.expected END
    ORDER BY w.ordinal LIMIT 1;
    IF FOUND THEN
        outcome := CASE seen WHEN 9223372036854775807 THEN 'gone' ELSE 'conflict' END;
        versions := ARRAY[seen];
        RAISE EXCEPTION USING ERRCODE = 'GE002';
    END IF;

    FOR at IN 1 .. coalesce(cardinality(unless_after), 0) LOOP
        wanted_types := string_to_array(unless_types[at], E'\n');
        wanted_tags := string_to_array(unless_tags[at], E'\n');
        IF cardinality(wanted_tags) > 0 THEN
            SELECT e.position INTO seen
            FROM {schema}.event_tags AS t JOIN {schema}.events AS e ON e.position = t.position
            WHERE t.tenant = owner AND t.tag = wanted_tags[1] AND t.position > unless_after[at]
                AND (cardinality(wanted_types) = 0 OR e.type = ANY (wanted_types))
                AND e.tags @> wanted_tags
            ORDER BY t.position LIMIT 1;
        ELSE
            SELECT e.position INTO seen FROM {schema}.events AS e
            WHERE e.position > unless_after[at] AND e.tenant = owner
                AND (cardinality(wanted_types) = 0 OR e.type = ANY (wanted_types))
            ORDER BY e.position LIMIT 1;
        END IF;
        lowest := least(lowest, seen);
    END LOOP;
    IF lowest IS NOT NULL THEN
        outcome := 'overtaken';
        number := lowest;
        RAISE EXCEPTION USING ERRCODE = 'GE002';
    END IF;

    FOR at IN 1 .. coalesce(cardinality(claim_scope), 0) LOOP
        IF claim_take[at] THEN
            INSERT INTO {schema}.claims AS c (tenant, scope, key, holder)
            VALUES (owner, claim_scope[at], claim_key[at], claim_holder[at])
            ON CONFLICT ON CONSTRAINT claims_pkey DO NOTHING;
            SELECT c.holder INTO holder FROM {schema}.claims AS c
            WHERE c.tenant = owner AND c.scope = claim_scope[at] AND c.key = claim_key[at];
            IF holder IS DISTINCT FROM claim_holder[at] THEN
                outcome := 'claimed';
                number := at;
                RAISE EXCEPTION USING ERRCODE = 'GE002';
            END IF;
        ELSE
            DELETE FROM {schema}.claims AS c
            WHERE c.tenant = owner AND c.scope = claim_scope[at] AND c.key = claim_key[at]
                AND c.holder = claim_holder[at];
        END IF;
    END LOOP;

    WITH placed AS (
        INSERT INTO {schema}.events
        SELECT nextval('{schema}.positions'), owner, e.stream, e.version, e.type,
            e.schema_version, e.content_type, e.id, e.append_id, now, e.tags, e.metadata, e.payload
        FROM (
            SELECT e.*, w.stream, s.version + e.place AS version, w.append AS append_id,
                string_to_array(e.joined, E'\n') AS tags
            FROM unnest(event_write, event_offset, types, schema_versions, content_types, ids, tags,
                    metadata, payloads)
                WITH ORDINALITY AS e (write, place, type, schema_version, content_type, id, joined,
                    metadata, payload, ordinal)
            JOIN unnest(write_stream, write_append) WITH ORDINALITY AS w (stream, append, number)
                ON w.number = e.write
            CROSS JOIN LATERAL (SELECT s.version FROM {schema}.streams AS s
                WHERE s.tenant = owner AND s.stream = w.stream LIMIT 1) AS s
            ORDER BY e.ordinal
        ) AS e
        RETURNING events.position
    )
    SELECT array_agg(placed.position ORDER BY placed.position) INTO positions FROM placed;

    INSERT INTO {schema}.event_tags (tenant, tag, position)
    SELECT DISTINCT owner, tag, at.position FROM unnest(tags, positions) AS at (joined, position),
        unnest(string_to_array(at.joined, E'\n')) AS tag;
    INSERT INTO {schema}.event_correlations (tenant, hash, position)
    SELECT owner, at.hash, at.position FROM unnest(correlations, positions) AS at (hash, position)
    WHERE at.hash IS NOT NULL;

    -- The version of each write's stream after it, as its writer is told it.
    SELECT array_agg(s.version + w.added + coalesce(own.events, 0) ORDER BY w.ordinal)
    INTO versions
    FROM unnest(write_stream, write_added) WITH ORDINALITY AS w (stream, added, ordinal)
    CROSS JOIN LATERAL (SELECT s.version FROM {schema}.streams AS s
        WHERE s.tenant = owner AND s.stream = w.stream LIMIT 1) AS s
    LEFT JOIN (SELECT e.write, count(*) AS events FROM unnest(event_write) AS e (write) GROUP BY 1)
        AS own ON own.write = w.ordinal;

    UPDATE {schema}.streams AS s SET version = s.version + added.events
    FROM (
        SELECT w.stream, count(*) AS events FROM unnest(event_write) AS e (write)
        JOIN unnest(write_stream) WITH ORDINALITY AS w (stream, ordinal) ON w.ordinal = e.write
        GROUP BY 1
    ) AS added
    CROSS JOIN LATERAL (SELECT o.ctid AS place FROM {schema}.streams AS o
        WHERE o.tenant = owner AND o.stream = added.stream LIMIT 1) AS one
    WHERE s.ctid = one.place;

    IF cardinality(append_ids) > 0 THEN
        INSERT INTO {schema}.appends AS a (tenant, id, first, last, versions, positions)
        SELECT owner, one.append, coalesce(min(one.first), 0), coalesce(max(one.last), -1),
            CASE WHEN count(*) > 1 OR min(one.first) IS NULL
                THEN array_agg(one.version ORDER BY one.ordinal) END,
            CASE WHEN count(*) > 1 OR min(one.first) IS NULL
                THEN array_agg(coalesce(one.last, 0) ORDER BY one.ordinal) END
        FROM (
            SELECT w.append, w.ordinal, w.version, min(p.position) AS first, max(p.position) AS last
            FROM unnest(write_append, versions) WITH ORDINALITY AS w (append, version, ordinal)
            LEFT JOIN unnest(event_write, positions) AS p (write, position) ON p.write = w.ordinal
            WHERE w.append IS NOT NULL
            GROUP BY w.append, w.ordinal, w.version
        ) AS one
        GROUP BY one.append ORDER BY one.append
        ON CONFLICT ON CONSTRAINT appends_pkey DO NOTHING;
        GET DIAGNOSTICS seen = ROW_COUNT;
        IF seen < cardinality(append_ids) THEN
            outcome := 'repeated';
            RAISE EXCEPTION USING ERRCODE = 'GE002';
        END IF;
    END IF;
EXCEPTION WHEN SQLSTATE 'GE002' THEN
    -- What was found out is in the answer; what was written is undone.
END
$$;
