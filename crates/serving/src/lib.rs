//! Pull and push queries: table providers and snapshots.
