"""Any helpdesk that speaks HTTP and JSON, told by a TOML file in place of code; docs/crm/rest.md says how."""
