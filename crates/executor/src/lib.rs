//! Worker threads, scheduling, the commit cycle, the query lifecycle.
