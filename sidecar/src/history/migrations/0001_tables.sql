-- What is recorded, by the day it came: each table has a partition a day, which is dropped whole.

CREATE SEQUENCE portcullis.event;

CREATE TABLE portcullis.verdict (
    at timestamptz NOT NULL,
    id bigint NOT NULL DEFAULT nextval('portcullis.event'),
    address inet NOT NULL,
    -- The client's own /32, or the /64 around it: what is asked for when its history is read.
    network cidr NOT NULL,
    -- For which addresses the verdict held.
    scope cidr NOT NULL,
    action text NOT NULL,
    band text NOT NULL,
    score smallint NOT NULL,
    reason text NOT NULL,
    decision text,
    answered smallint NOT NULL,
    asked smallint NOT NULL,
    sources jsonb NOT NULL
) PARTITION BY RANGE (at);

CREATE INDEX verdict_network ON portcullis.verdict (network, at);

CREATE TABLE portcullis.decision (
    at timestamptz NOT NULL,
    id bigint NOT NULL DEFAULT nextval('portcullis.event'),
    -- gave, replaced, took_back or restored.
    event text NOT NULL,
    decision text NOT NULL,
    prefix cidr NOT NULL,
    type text NOT NULL,
    origin text NOT NULL,
    reason text NOT NULL,
    author text NOT NULL,
    expires timestamptz,
    -- Who did it, and by what: console, command line or API.
    operator text NOT NULL,
    way text NOT NULL
) PARTITION BY RANGE (at);

CREATE INDEX decision_prefix ON portcullis.decision USING gist (prefix inet_ops);

CREATE TABLE portcullis.refusal (
    minute timestamptz NOT NULL,
    address inet NOT NULL,
    action text NOT NULL,
    mode text NOT NULL,
    reason text NOT NULL,
    decision text NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (address, minute, action, mode)
) PARTITION BY RANGE (minute);

-- The last batch of each process that writes: one whose commit was not heard of is not written twice.
CREATE TABLE portcullis.writer (
    id bigint PRIMARY KEY,
    batch bigint NOT NULL,
    version text NOT NULL,
    seen timestamptz NOT NULL
);
