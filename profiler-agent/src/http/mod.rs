//! What the agent answers over HTTP: profiles, queries, metrics, health.
