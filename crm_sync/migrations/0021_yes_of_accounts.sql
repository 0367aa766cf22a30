-- Whose account the first of two who must say yes signed in with: names may be given to any command, and change.
ALTER TABLE held_step ADD COLUMN first_yes_account text;
