"""What a product is: profiles, payload codecs, identity, credentials and the registry."""
