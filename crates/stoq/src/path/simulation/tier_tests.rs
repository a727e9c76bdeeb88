//! Tiers of simulated paths.
