"""A CRM to test against: it keeps records, checks signatures and order, and misbehaves as real ones do."""
