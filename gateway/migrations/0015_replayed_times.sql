-- What a replay must know to give readings without a time the one that they had: whether a broker had retained the
-- message, so that nobody knows when it was sent, and from when such readings are counted where a part of the message
-- has been stored already. NULL: from the receipt, and from what the bytes are (gateway/pipeline/clockless.py).
ALTER TABLE quarantine ADD COLUMN retained boolean NOT NULL DEFAULT false, ADD COLUMN counted_from timestamptz;
