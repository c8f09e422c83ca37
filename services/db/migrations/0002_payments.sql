-- Changes and payments. Every row that can be changed counts its versions (the
-- ETag); a payment is an attempt that outlives the request and the process that
-- started it, and a client's key remembers the answer that it was given.
ALTER TABLE subscriptions
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    DROP CONSTRAINT subscriptions_currency_check,
    ADD CONSTRAINT subscriptions_currency_check CHECK (currency IN
        ('AUD', 'BRL', 'CAD', 'CHF', 'CNY', 'CZK', 'DKK', 'EUR', 'GBP', 'HKD', 'HUF', 'INR',
         'JPY', 'KRW', 'MXN', 'NOK', 'NZD', 'PLN', 'SEK', 'SGD', 'TRY', 'USD', 'ZAR')),
    ADD CONSTRAINT subscriptions_price_cents_limit CHECK (price_cents <= 1000000000000);

ALTER TABLE invoices
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    -- The provider's id, set when a payment of ours made the invoice paid.
    ADD COLUMN payment_id text,
    DROP CONSTRAINT invoices_currency_check,
    ADD CONSTRAINT invoices_currency_check CHECK (currency IN
        ('AUD', 'BRL', 'CAD', 'CHF', 'CNY', 'CZK', 'DKK', 'EUR', 'GBP', 'HKD', 'HUF', 'INR',
         'JPY', 'KRW', 'MXN', 'NOK', 'NZD', 'PLN', 'SEK', 'SGD', 'TRY', 'USD', 'ZAR')),
    ADD CONSTRAINT invoices_amount_cents_limit CHECK (amount_cents BETWEEN 1 AND 1000000000000),
    ADD CONSTRAINT invoices_payment_id_check CHECK (payment_id IS NULL OR status = 'paid');

-- One charge to try, till the provider says how it ended. 'pending' may last for
-- days; 'succeeded' and 'declined' never change.
CREATE TABLE payment_attempts (
    id           uuid PRIMARY KEY,
    invoice_id   uuid NOT NULL REFERENCES invoices (id),
    account_id   uuid NOT NULL,
    -- Frozen here: a resend asks for just what was asked for before.
    amount_cents bigint NOT NULL CHECK (amount_cents BETWEEN 1 AND 1000000000000),
    currency     text NOT NULL,
    state        text NOT NULL CHECK (state IN ('pending', 'succeeded', 'declined')),
    payment_id   text UNIQUE CHECK ((payment_id IS NOT NULL) = (state = 'succeeded')),
    tries        integer NOT NULL DEFAULT 1,
    -- Politeness between callers; what prevents a second charge is one_live.
    lease_until  timestamptz NOT NULL,
    next_try_at  timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX one_live ON payment_attempts (invoice_id) WHERE state IN ('pending', 'succeeded');
CREATE INDEX payment_attempts_due ON payment_attempts (next_try_at) WHERE state = 'pending';
-- For the foreign key, which one_live does not serve where the attempt was declined.
CREATE INDEX payment_attempts_by_invoice ON payment_attempts (invoice_id);

CREATE TABLE idempotency_keys (
    account_id  uuid NOT NULL,
    key         text COLLATE "C" NOT NULL CHECK (key ~ '^[!-~]{1,255}$'),
    -- SHA-256 of method, path and body.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    invoice_id  uuid NOT NULL,
    attempt_id  uuid NOT NULL,
    -- Both null till the attempt ends, then the answer to repeat.
    status      integer CHECK (status IN (200, 402)),
    body        bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key),
    CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotency_keys_open ON idempotency_keys (attempt_id) WHERE status IS NULL;
CREATE INDEX idempotency_keys_ended ON idempotency_keys (created_at) WHERE status IS NOT NULL;
