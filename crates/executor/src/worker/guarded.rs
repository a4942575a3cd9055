//! Runs what belongs to one query so that its failure, a panic included, stays its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What went wrong, in words; the task that ran must be thrown away.
pub(crate) fn guarded<T, E: std::fmt::Display>(run: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("internal error: {}", message.as_deref().unwrap_or("a panic without a message")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_told() {
        assert_eq!(guarded(|| Ok::<_, String>(1)), Ok(1));
        assert_eq!(guarded(|| Err::<(), _>("full")), Err("full".to_owned()));
        let panicked = guarded(|| -> Result<(), String> { panic!("row {}", 7) });
        assert_eq!(panicked, Err("internal error: row 7".to_owned()));
    }
}
