-- A contact that is one of many may want the yes of two people.
ALTER TABLE held_step ADD COLUMN people smallint NOT NULL DEFAULT 1;    -- how many must say yes
ALTER TABLE held_step ADD COLUMN first_yes_by text;                     -- who has, where another must, too
