-- All comparable objects of one schema: kind, owner, name, and a JSON object of texts.
-- With `true` as the last argument, pg_get_...() omits unnecessary parentheses and the names of
-- schemas on the search path. Objects that belong to extensions are excluded.
WITH sequences AS (
    SELECT seqrelid, format('%s from %s by %s, %s to %s, cache %s%s', format_type(seqtypid, NULL),
        seqstart, seqincrement, seqmin, seqmax, seqcache, CASE WHEN seqcycle THEN ', cycle' END
    ) AS definition
    FROM pg_sequence
)
SELECT CASE WHEN relkind IN ('r', 'p') THEN 'table' ELSE 'view' END, '', relname,
jsonb_build_object(
    'definition', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid, true) END,
    'partition key', CASE relkind WHEN 'p' THEN pg_get_partkeydef(oid) END,
    'persistence', CASE WHEN relkind IN ('r', 'p') THEN
        CASE relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END END,
    'storage parameters', array_to_string(reloptions, ', '),
    'comment', obj_description(oid, 'pg_class')
)
FROM pg_class r WHERE relnamespace = cast(:schema AS regnamespace)
AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = r.oid AND deptype = 'e'
)
UNION ALL
SELECT 'column', relname, attname, jsonb_build_object(
    'type', format_type(atttypid, atttypmod),
    'nullability', CASE WHEN attnotnull THEN 'NOT NULL' ELSE 'nullable' END,
    'default', CASE attgenerated WHEN '' THEN pg_get_expr(adbin, adrelid, true) END,
    'generated expression', CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid, true) END,
    'generation', CASE attgenerated WHEN 's' THEN 'STORED' WHEN 'v' THEN 'VIRTUAL' END,
    'identity', CASE attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
    'sequence', (
        SELECT definition FROM sequences JOIN pg_depend ON objid = seqrelid
        WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
        AND refobjid = attrelid AND refobjsubid = attnum AND deptype IN ('a', 'i')
    ),
    'collation', CASE WHEN attcollation <> typcollation THEN
        (SELECT collname FROM pg_collation WHERE oid = attcollation) END,
    'comment', col_description(attrelid, attnum)
)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_type ON pg_type.oid = atttypid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = cast(:schema AS regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition
AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT CASE contype WHEN 'c' THEN 'CHECK constraint' WHEN 'f' THEN 'foreign key'
    WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint'
    ELSE 'exclusion constraint' END, relname, conname,
jsonb_build_object(
    'definition', pg_get_constraintdef(pg_constraint.oid, true),
    'comment', obj_description(pg_constraint.oid, 'pg_constraint')
)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = cast(:schema AS regnamespace) AND NOT relispartition
AND contype IN ('c', 'f', 'p', 'u', 'x') AND conparentid = 0
UNION ALL
SELECT 'index', relations.relname, indexes.relname, jsonb_build_object(
    'definition', pg_get_indexdef(indexrelid, 0, true),
    'state', CASE WHEN NOT indisvalid THEN 'invalid' END,
    'comment', obj_description(indexrelid, 'pg_class')
)
FROM pg_index JOIN pg_class indexes ON indexes.oid = indexrelid
JOIN pg_class relations ON relations.oid = indrelid
WHERE relations.relnamespace = cast(:schema AS regnamespace) AND NOT relations.relispartition
AND NOT EXISTS (
    SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x')
)
UNION ALL
SELECT CASE typtype WHEN 'e' THEN 'enum type' ELSE 'domain' END, '', typname, jsonb_build_object(
    'members', (
        SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
        FROM pg_enum WHERE enumtypid = t.oid
    ),
    'type', CASE typtype WHEN 'd' THEN format_type(typbasetype, typtypmod) END,
    'nullability', CASE WHEN typnotnull THEN 'NOT NULL' END,
    'default', typdefault,
    'constraints', (
        SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid, true), ', ' ORDER BY conname)
        FROM pg_constraint WHERE contypid = t.oid AND contype = 'c'
    ),
    'comment', obj_description(t.oid, 'pg_type')
)
FROM pg_type t WHERE typnamespace = cast(:schema AS regnamespace) AND typtype IN ('e', 'd')
AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e'
)
UNION ALL
SELECT 'sequence', '', relname, jsonb_build_object(
    'definition', definition, 'comment', obj_description(r.oid, 'pg_class')
)
FROM pg_class r JOIN sequences ON seqrelid = r.oid
WHERE relnamespace = cast(:schema AS regnamespace) AND NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = r.oid AND deptype IN ('a', 'i', 'e')
)
UNION ALL
SELECT 'function', '', proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
jsonb_build_object(
    'result', pg_get_function_result(p.oid),
    'language', lanname,
    'volatility', provolatile,
    'body', coalesce(pg_get_function_sqlbody(p.oid), prosrc)
)
FROM pg_proc p JOIN pg_language l ON l.oid = prolang
WHERE pronamespace = cast(:schema AS regnamespace) AND prokind IN ('f', 'p') AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'
)
UNION ALL
SELECT 'trigger', relname, tgname,
jsonb_build_object('definition', pg_get_triggerdef(t.oid, true), 'enabled', tgenabled)
FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
WHERE relnamespace = cast(:schema AS regnamespace) AND NOT tgisinternal
