-- What ISO/IEC TS 27560 wants to be kept of each word of a person: which notice they saw, how they said it, about what.
ALTER TABLE grant_record
    ADD COLUMN event_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN record_id       uuid,    -- where another system named the record; else it follows from what it is about
    ADD COLUMN method          text,    -- how it was said: a box ticked in the app, a signed form, a call
    ADD COLUMN notice          text,    -- which privacy notice was shown, as an address or a title
    ADD COLUMN notice_version  text,
    ADD COLUMN notice_language text,
    ADD COLUMN personal_data   text[],  -- categories, as terms of the Data Privacy Vocabulary
    ADD COLUMN indicated_by    text NOT NULL DEFAULT 'subject' CHECK (indicated_by IN ('subject', 'controller', 'other')),
    ADD COLUMN recorded_by     text,    -- person:<name>, import, api
    ADD COLUMN historic        boolean NOT NULL DEFAULT false;  -- told after a later word was known: kept, and never counts
CREATE UNIQUE INDEX grant_record_event ON grant_record (tenant_id, event_id);
