"""Post-quantum signatures, envelopes, digests and key storage over the native extension."""
