use crate::broker::open;

millpond_log::log_conformance!(open());
