-- Seed data, the same bytes on every machine: 20 accounts, 12,000 subscriptions
-- and 120,000 invoices (48,000 of them open), spread evenly over the accounts;
-- an attempt for each of the 48,000 paid ones, and 2,000 keys.
-- Ids are made from names, so that a test can know one without asking.
CREATE FUNCTION pg_temp.seed_id(name text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    -- A random-looking version 4 id.
    SELECT overlay(overlay(md5(name) PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid
$$;

-- Every row is made from the one it refers to. Looking each up again would take as long as all
-- else, so a superuser does without.
DO $$ BEGIN
    SET session_replication_role = replica;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END $$;

-- An index is built in half the time when the rows are there. What a constraint needs stays.
CREATE TEMPORARY TABLE put_off AS
SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index
WHERE indrelid IN ('invoices'::regclass, 'payment_attempts'::regclass)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid);

DO $$ DECLARE statement text; BEGIN
    FOR statement IN SELECT format('DROP INDEX %s', name) FROM put_off LOOP
        EXECUTE statement;
    END LOOP;
END $$;

INSERT INTO accounts (id, number, name)
SELECT pg_temp.seed_id('account-' || n), n, 'Account ' || n
FROM generate_series(1, 20) AS n;

INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency, created_at)
SELECT pg_temp.seed_id('subscription-' || n),
       pg_temp.seed_id('account-' || 1 + n % 20),
       (ARRAY['starter', 'team', 'business'])[1 + n % 3],
       (ARRAY['active', 'active', 'active', 'past_due', 'canceled'])[1 + n / 20 % 5],
       (ARRAY[900, 4900, 19900])[1 + n % 3],
       (ARRAY['EUR', 'USD', 'GBP'])[1 + n / 20 % 3],
       timestamptz '2025-01-01 00:00:00+00' + n * interval '37 minutes 1.000001 seconds'
FROM generate_series(1, 12000) AS n;

-- Invoice n is one of the ten of subscription 1 + n % 12000.
INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, payment_id, created_at)
SELECT pg_temp.seed_id('invoice-' || n),
       s.id,
       s.account_id,
       (ARRAY['open', 'paid', 'open', 'paid', 'draft', 'open', 'paid', 'void', 'open', 'paid'])[1 + n / 12000 % 10],
       s.price_cents + n % 97,
       s.currency,
       CASE WHEN n / 12000 IN (1, 3, 6, 9) THEN 'pay_' || md5('payment-' || n) END,
       s.created_at + (1 + n / 12000) * interval '30 days' + n * interval '1 microsecond'
FROM generate_series(0, 119999) AS n
JOIN (SELECT number, pg_temp.seed_id('subscription-' || number) AS id FROM generate_series(1, 12000) AS number) AS numbered
    ON number = 1 + n % 12000
JOIN subscriptions AS s ON s.id = numbered.id
ORDER BY n;

INSERT INTO payment_attempts (id, invoice_id, account_id, amount_cents, currency, state, payment_id, lease_until, next_try_at, created_at)
SELECT overlay(md5('attempt-' || payment_id) PLACING '7' FROM 13)::uuid,
       id, account_id, amount_cents, currency, 'succeeded', payment_id, created_at, created_at, created_at
FROM invoices WHERE status = 'paid';

-- Keys are of the last day, so these alone have the time of seeding. Without any,
-- the first plans would be made for an empty table and read it whole ever after.
INSERT INTO idempotency_keys (account_id, key, fingerprint, invoice_id, attempt_id, status, body)
SELECT account_id,
       'seed-' || n,
       sha256(convert_to(format(E'POST\n/v1/invoices/%s/pay\n{}', invoice_id), 'UTF8')),
       invoice_id,
       id,
       200,
       convert_to(format('{"invoice_id":"%s","status":"paid","payment":{"id":"%s","status":"succeeded","amount_cents":%s,"currency":"%s","updated_at":"2026-01-01T00:00:00.000Z"}}',
                         invoice_id, payment_id, amount_cents, currency), 'UTF8')
FROM generate_series(12000, 13999) AS n
JOIN payment_attempts ON invoice_id = pg_temp.seed_id('invoice-' || n);

DO $$ DECLARE statement text; BEGIN
    FOR statement IN SELECT definition FROM put_off LOOP
        EXECUTE statement;
    END LOOP;
END $$;

DO $$ BEGIN
    SET session_replication_role = origin;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END $$;
