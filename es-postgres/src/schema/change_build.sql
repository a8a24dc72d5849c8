-- Begins, divides, serves or retires a build, or retires all builds of a read model: one change of a model at a
-- time. Each statement in here sees what was committed before it began, so what is
-- decided after a lock is decided on what it protects.
--
-- `start` is where the parts of a new build stand, or where the log ends for one that is
-- to serve: what has come further has seen another log.
--
-- The parts are locked in the order of their keys, as by whoever else locks several. Who
-- holds one for longer than a moment is not waited for: meanwhile the others are held too.
CREATE FUNCTION {schema}.change_build(
    store integer, what text, name text, build bigint, code bigint,
    first integer[], last integer[], seen_epoch bigint[], seen_position bigint[],
    into_first integer[], into_last integer[], start bigint,
    OUT outcome text
) LANGUAGE plpgsql VOLATILE SET lock_timeout = '1s' AS $$
#variable_conflict use_variable
DECLARE
    reached bigint;
    found integer;
    latest bigint;
BEGIN
    -- A snapshot older than the locks would not show what they have waited for.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        outcome := 'outdated';
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(store, hashtext('model ' || name));
    outcome := 'changed';

    IF what = 'begin' THEN
        IF EXISTS (SELECT FROM {schema}.builds AS b WHERE b.model = name AND b.number >= build) THEN
            outcome := 'fenced';
            RETURN;
        END IF;
        INSERT INTO {schema}.builds (model, number, revision, serves)
        SELECT name, build, code, NOT EXISTS (
            SELECT FROM {schema}.builds AS b WHERE b.model = name AND b.serves);
        SELECT e.epoch + 1 INTO latest FROM {schema}.epochs AS e WHERE e.model = name;
        INSERT INTO {schema}.parts (model, build, first_slice, last_slice, epoch, position)
        SELECT name, build, s.first, s.last, coalesce(latest, 0), start
        FROM unnest(into_first, into_last) AS s (first, last);
        RETURN;
    END IF;

    IF what IN ('divide', 'serve') THEN
        PERFORM FROM {schema}.parts AS p WHERE p.model = name
        ORDER BY p.build, p.first_slice FOR UPDATE;
        SELECT count(DISTINCT p.first_slice), min(p.position), max(p.epoch) INTO found, reached, latest
        FROM unnest(first, last, seen_epoch, seen_position) AS s (first, last, epoch, position)
        JOIN {schema}.parts AS p ON p.model = name AND p.build = build
            AND p.first_slice = s.first AND p.last_slice = s.last
            AND p.epoch = s.epoch AND p.position = s.position;
        IF found = 0 OR found <> cardinality(first) THEN
            outcome := 'fenced';
            RETURN;
        END IF;
    END IF;

    IF what = 'divide' THEN
        DELETE FROM {schema}.parts AS p USING unnest(first, last) AS s (first, last)
        WHERE p.model = name AND p.build = build
            AND p.first_slice = s.first AND p.last_slice = s.last;
        INSERT INTO {schema}.parts (model, build, first_slice, last_slice, epoch, position)
        SELECT name, build, s.first, s.last, latest + 1, reached
        FROM unnest(into_first, into_last) AS s (first, last);
    ELSIF what = 'serve' THEN
        IF found <> (SELECT count(*) FROM {schema}.parts AS p
            WHERE p.model = name AND p.build = build)
        THEN
            outcome := 'fenced';
            RETURN;
        END IF;
        IF EXISTS (SELECT FROM {schema}.builds AS b JOIN {schema}.parts AS p
            ON p.model = b.model AND p.build = b.number
            WHERE b.model = name AND b.serves AND b.number <> build
                AND p.position > reached AND p.position <= start)
        THEN
            outcome := 'behind';
            RETURN;
        END IF;
        PERFORM {schema}.retire_parts(name, 0, build - 1);
        UPDATE {schema}.builds AS b SET serves = false
        WHERE b.model = name AND b.serves AND b.number <> build;
        UPDATE {schema}.builds AS b SET serves = true WHERE b.model = name AND b.number = build;
    ELSIF what = 'remove' THEN
        PERFORM {schema}.retire_parts(name, 0, 9223372036854775807);
        UPDATE {schema}.builds AS b SET serves = false WHERE b.model = name AND b.serves;
    ELSE
        IF EXISTS (SELECT FROM {schema}.builds AS b
            WHERE b.model = name AND b.number = build AND b.serves)
        THEN
            outcome := 'fenced';
            RETURN;
        END IF;
        PERFORM {schema}.retire_parts(name, build, build);
    END IF;
END
$$;
