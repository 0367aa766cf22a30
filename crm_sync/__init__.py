"""From an alarm to a case, a decision and a delivery into the CRM, and back."""
