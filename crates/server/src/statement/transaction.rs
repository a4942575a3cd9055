//! BEGIN … COMMIT around writes: one atomic append.

use super::{Answer, write};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::session::{Session, Transaction};

/// `text` is the statement: its last READ ONLY or READ WRITE counts.
pub fn begin(session: &mut Session, text: &str) -> Result<Answer> {
    match session.transaction {
        Transaction::None => {
            session.transaction = Transaction::Open(Vec::new());
            session.settings_before = Some(session.settings.clone());
            session.read_only = is_read_only(text);
        }
        _ => session.warning("25001", "there is already a transaction in progress"),
    }
    Ok(Answer::Done("BEGIN".to_string()))
}

fn is_read_only(text: &str) -> bool {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let access = words.windows(2).rev().find(|pair| {
        pair[0].eq_ignore_ascii_case("read") && (pair[1].eq_ignore_ascii_case("only") || pair[1].eq_ignore_ascii_case("write"))
    });
    access.is_some_and(|pair| pair[1].eq_ignore_ascii_case("only"))
}

pub async fn commit(session: &mut Session, interrupt: &mut Interrupt<'_>) -> Result<Answer> {
    match std::mem::take(&mut session.transaction) {
        Transaction::Open(writes) => {
            let appended = write::append(session, interrupt, writes).await;
            session.ended(appended.is_ok());
            appended?;
            Ok(Answer::Done("COMMIT".to_string()))
        }
        Transaction::Failed => {
            session.ended(false);
            Ok(Answer::Done("ROLLBACK".to_string()))
        }
        Transaction::None => {
            session.warning("25P01", "there is no transaction in progress");
            Ok(Answer::Done("COMMIT".to_string()))
        }
    }
}

pub fn rollback(session: &mut Session) -> Result<Answer> {
    if matches!(std::mem::take(&mut session.transaction), Transaction::None) {
        session.warning("25P01", "there is no transaction in progress");
    }
    session.ended(false);
    Ok(Answer::Done("ROLLBACK".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_access_mode_counts() {
        for (text, read_only) in [
            ("BEGIN", false),
            ("begin read only", true),
            ("START TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY", true),
            ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", false),
            ("BEGIN READ ONLY, READ WRITE", false),
        ] {
            assert_eq!(is_read_only(text), read_only, "{text}");
        }
    }
}
