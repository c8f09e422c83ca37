-- The store of the billing API. Money is integer minor units and an ISO 4217
-- code; times are UTC. Every row belongs to one account, and every query of a
-- service names the caller's account.
CREATE TABLE accounts (
    id         uuid PRIMARY KEY,
    number     integer NOT NULL UNIQUE,
    name       text NOT NULL
);

CREATE TABLE subscriptions (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES accounts (id),
    plan        text NOT NULL CHECK (plan IN ('starter', 'team', 'business')),
    status      text NOT NULL CHECK (status IN ('active', 'past_due', 'canceled')),
    price_cents bigint NOT NULL CHECK (price_cents >= 0),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE invoices (
    id              uuid PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    account_id      uuid NOT NULL REFERENCES accounts (id),
    status          text NOT NULL CHECK (status IN ('draft', 'open', 'paid', 'void')),
    amount_cents    bigint NOT NULL CHECK (amount_cents >= 0),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX subscriptions_by_account ON subscriptions (account_id, created_at, id);
CREATE INDEX invoices_by_account ON invoices (account_id, created_at, id);
CREATE INDEX invoices_by_subscription ON invoices (subscription_id);
